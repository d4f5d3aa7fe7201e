/* talos backup and talos check: looking after a data directory, beside a running server if need be. */
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "capsules/capsule.h"
#include "cli/app.h"
#include "cli/cli.h"
#include "store/check.h"
#include "store/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *data, *target;
    bool deep;
};

static int parse(const struct tl_cmd *cmd, int argc, char **argv, struct options *o, bool wants_target)
{
    static const struct option longs[] = {{"data", required_argument, NULL, 'd'},
                                          {"deep", no_argument, NULL, 'D'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        if (c == 'h') {
            fputs(cmd->help, stdout);
            return TL_EXIT_OK;
        }
        if (c == 'd')
            o->data = optarg;
        else if (c == 'D' && !wants_target)
            o->deep = true;
        else
            return tl_cli_usage(cmd, "that option is not known or lacks its value");
    }
    if (wants_target && optind < argc)
        o->target = argv[optind++];
    if (optind < argc || (wants_target && !o->target))
        return tl_cli_usage(cmd, wants_target ? "backup takes one directory" : "check takes no '%s'", argv[optind]);
    return -1;
}

static int open_db(const struct options *o, char **ret_dir, struct tl_db **ret)
{
    *ret_dir = tl_cli_data_dir(o->data);
    if (!*ret_dir)
        return tl_cli_fail(TL_EINVAL, "there is no HOME: name the data directory with --data");
    int err = tl_db_open(*ret_dir, TL_DB_READ, ret);
    if (err == TL_ENOTFOUND)
        tl_cli_say("there is no talos data in %s", *ret_dir);
    else if (err < 0)
        tl_cli_fail(err, "the database in %s cannot be opened", *ret_dir);
    return tl_cli_exit_status(err);
}

/* The record of published versions, which is no secret but must fit the copy: as it was before the database is copied, for versions on top of it are no fault. */
static int open_marks(const char *dir, int *ret_fd)
{
    TL_AUTO_FREE char *path = tl_fs_join(dir, "capsules.high");
    *ret_fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    return !path ? TL_ENOMEM : *ret_fd >= 0 || errno == ENOENT ? 0 : tl_err_from_errno(errno);
}

static int copy_marks(int marks, const char *target)
{
    TL_AUTO_FREE char *path = tl_fs_join(target, "capsules.high");
    if (!path)
        return TL_ENOMEM;
    TL_AUTO_FD int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, TL_FILE_MODE);
    TL_AUTO_FD int dir = -1;
    int err = out < 0 ? tl_err_from_errno(errno) : tl_fs_copy(marks, out);
    if (!err)
        err = tl_fs_sync(out);
    if (!err)
        err = tl_fs_open_dir(target, &dir);
    return err ? err : tl_fs_sync(dir);
}

static int run_backup(const struct tl_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    TL_AUTO_FREE char *dir = NULL;
    TL_AUTO_FD int marks = -1;
    struct tl_db *db = NULL;
    int status = parse(cmd, argc, argv, &o, true);
    if (status >= 0)
        return status;
    status = open_db(&o, &dir, &db);
    if (status)
        return status;
    int err = open_marks(dir, &marks);
    if (!err)
        err = tl_store_backup(db, dir, o.target);
    if (!err && marks >= 0)
        err = copy_marks(marks, o.target);
    tl_db_close(db);
    if (err == TL_ECONFLICT) {
        tl_cli_say("%s is not empty: a backup goes into a new or empty directory", o.target);
        return TL_EXIT_USAGE;
    }
    if (err < 0)
        return tl_cli_fail(err, "the backup to %s failed", o.target);
    printf("The backup in %s is complete.\n"
           "It does not hold %s/root.key, without which no capsule and no key in it opens: keep a copy of that file "
           "somewhere else.\n"
           "To restore: put the copy of root.key into %s and serve that directory.\n",
           o.target, dir, o.target);
    return TL_EXIT_OK;
}

static void found(void *arg, const char *text)
{
    (void)arg;
    printf("  %s\n", text);
}

/* Unseals every version that the catalog holds. Returns how many failed; *ret_count were tried. */
static int check_capsules(struct tl_app *app, int *ret_count)
{
    TL_AUTO_JSON json_t *items = NULL;
    int bad = 0;
    size_t i;
    json_t *item;
    *ret_count = 0;
    if (tl_cat_capsules(app->catalog, TL_LOCAL_ORG, true, &items) < 0)
        return 1;
    json_array_foreach(items, i, item) {
        const char *id = tl_json_str(item, "id"), *version = tl_json_str(item, "version");
        struct tl_capsule *capsule = NULL;
        int err = id && version ? app->services.open_capsule(app->services.arg, TL_LOCAL_ORG, id, version, &capsule)
                                : TL_ECORRUPT;
        if (err < 0) {
            printf("  capsule %s@%s does not open\n", id ? id : "?", version ? version : "?");
            bad++;
        } else {
            tl_capsule_unref(capsule);
        }
        ++*ret_count;
    }
    return bad;
}

static int run_check(const struct tl_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    TL_AUTO_FREE char *dir = NULL;
    struct tl_db *db = NULL;
    int status = parse(cmd, argc, argv, &o, false), capsules = 0, bad = 0;
    if (status >= 0)
        return status;
    status = open_db(&o, &dir, &db);
    if (status)
        return status;
    struct tl_check_counts counts = {0};
    int err = tl_db_check(db, dir, o.deep, found, NULL, &counts);
    tl_db_close(db);
    if (err < 0)
        return tl_cli_fail(err, "the check of %s could not look at everything", dir);
    if (o.deep) {
        struct tl_app app;
        if (tl_app_open_beside(&app, dir, true) < 0) {
            bad++;
        } else {
            bad += check_capsules(&app, &capsules);
            tl_app_close(&app);
        }
    }
    printf("%llu entries and %llu blobs looked at", (unsigned long long)counts.entries,
           (unsigned long long)counts.blobs);
    if (o.deep)
        printf(", %.1f MB hashed, %d capsules opened", (double)counts.bytes / 1e6, capsules);
    unsigned long long problems = counts.problems + (unsigned long long)bad;
    if (problems)
        printf(": %llu faults\n", problems);
    else
        puts(": all is well");
    return problems ? TL_EXIT_FAILED : TL_EXIT_OK;
}

const struct tl_cmd tl_cmd_backup = {
    .name = "backup",
    .summary = "copy a data directory, also while a server uses it",
    .help = "Usage: talos backup DIR [--data DIR]\n\n"
            "Makes a compacted copy of the database and all files in DIR, which must be new or empty; on disk when it "
            "ends. The root key\n"
            "is not in it: keep that apart.\n\n"
            "  --data DIR  the data directory (default: $TALOS_DATA, else ~/.local/share/talos)\n\n"
            "Exit status: 0; 2 wrong usage, or DIR is not empty; 3 there is no data directory; 5 the storage failed.\n",
    .run = run_backup,
};

const struct tl_cmd tl_cmd_check = {
    .name = "check",
    .summary = "look for faults in a data directory",
    .help = "Usage: talos check [--deep] [--data DIR]\n\n"
            "Walks everything that is stored and says what is not as it should be. Changes nothing; works beside a "
            "running server.\n\n"
            "  --deep      also reads and hashes every file and opens every capsule\n"
            "  --data DIR  the data directory (default: $TALOS_DATA, else ~/.local/share/talos)\n\n"
            "Exit status: 0 all is well; 1 faults were found; 3 there is no data directory; 5 the storage failed.\n",
    .run = run_check,
};
