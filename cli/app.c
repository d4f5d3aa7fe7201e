#include "cli/app.h"

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "capsules/destinations.h"
#include "capsules/doors.h"
#include "capsules/llm.h"
#include "capsules/seal.h"
#include "capsules/plans.h"
#include "cli/cli.h"
#include "store/fs.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The executor's hooks: one arg for all of them, the app. */

static int replan(void *arg, const char *org, const char *kind, json_t *doc, struct tl_plan **ret, struct tl_diag *diag)
{
    struct tl_app *app = arg;
    return tl_cap_replan(&app->services, org, kind, doc, ret, diag);
}

static int cache_key(void *arg, const char *org, uint8_t ret[32])
{
    const struct tl_app *app = arg;
    tl_keyring_subkey(app->keyring, TL_SUBKEY_CACHE, org, ret);
    return 0;
}

static void step_id(void *arg, const char *org, const char *run_id, const char *step, uint8_t ret[32])
{
    const struct tl_app *app = arg;
    tl_step_id(app->keyring, org, run_id, step, ret);
}

static int step_seal(void *arg, const char *org, const uint8_t id[32], const void *plain, size_t len, uint8_t **ret,
                     size_t *ret_len)
{
    const struct tl_app *app = arg;
    return tl_step_seal(app->keyring, org, id, plain, len, ret, ret_len);
}

static int step_open(void *arg, const char *org, const uint8_t id[32], const void *sealed, size_t len, uint8_t **ret,
                     size_t *ret_len)
{
    const struct tl_app *app = arg;
    return tl_step_unseal(app->keyring, org, id, sealed, len, ret, ret_len);
}

static int complete(void *arg, const struct tl_run *run, struct tl_str *payload)
{
    struct tl_app *app = arg;
    return tl_cap_complete(&app->services, run, payload);
}

static void notify(void *arg, const struct tl_id *run, uint64_t seq, bool ended)
{
    struct tl_app *app = arg;
    struct tl_server *server = atomic_load(&app->server);
    if (server)
        tl_server_notify(&server, run, seq, ended);
    if (app->notify)
        app->notify(app->notify_arg, run, seq, ended);
}

/* talos-worker: $TALOS_WORKER, else beside this program. */
static char *worker_path(void)
{
    const char *given = getenv("TALOS_WORKER");
    if (given && *given)
        return tl_strdup(given);
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return NULL;
    self[n] = '\0';
    char *slash = strrchr(self, '/'), *path = NULL;
    if (!slash)
        return NULL;
    *slash = '\0';
    return asprintf(&path, "%s/talos-worker", self) < 0 ? NULL : path;
}

static int fail(struct tl_app *app, int err, const char *what, const struct tl_diag *diag)
{
    if (err == TL_EBUSY)
        tl_cli_say("the data directory %s is in use by another talos", app->data_dir);
    else
        tl_cli_fail(err, "%s in %s", what, app->data_dir);
    if (diag)
        tl_cli_problems(diag);
    return err;
}

static int open_keys(struct tl_app *app, unsigned db_flags, unsigned key_flags, struct tl_diag *diag)
{
    int err = tl_db_open(app->data_dir, db_flags, &app->db);
    if (err < 0)
        return err;
    return tl_keyring_open(app->data_dir, app->db, key_flags, &app->keyring, diag);
}

static int take_dir(struct tl_app *app, const char *dir)
{
    memset(app, 0, sizeof(*app));
    app->data_dir = tl_cli_data_dir(dir);
    if (app->data_dir)
        return 0;
    tl_cli_say("there is no HOME to keep data under: name a directory with --data");
    return TL_EINVAL;
}

/* Only what the operator configured may be reached: the language model and the destinations, where there are any. */
static int open_net(struct tl_app *app, struct tl_diag *diag)
{
    struct tl_llm_conf llm TL_CLEANUP(tl_llm_conf_clear) = {0};
    int err = tl_llm_conf_env(&llm, diag), to_err = tl_destinations_env(&app->services.destinations, diag);
    err = err ? err : to_err;
    if (err < 0)
        return err;
    const struct tl_destination *to;
    size_t n = tl_destinations_list(app->services.destinations, &to);
    TL_AUTO_FREE const char **trusted = tl_calloc(n + 2, sizeof(*trusted));
    if (!trusted)
        return TL_ENOMEM;
    for (size_t i = 0; i < n; i++)
        trusted[i] = to[i].host_port;
    trusted[n] = llm.host_port;
    const struct tl_net_policy policy = {.trusted = trusted};
    err = tl_net_new(&policy, &app->net);
    if (!err && llm.url)
        err = tl_llm_new(&llm, app->net, &app->services.llm);
    app->services.net = app->net;
    return err;
}

static int open_services(struct tl_app *app, struct tl_diag *diag, const char **ret_what)
{
    TL_AUTO_FREE char *worker = worker_path();
    const char *fallbacks = getenv("ALLOW_INPUT_FALLBACKS");
    app->services = (struct tl_services){.db = app->db, .input_fallbacks = fallbacks && !strcmp(fallbacks, "true")};
    *ret_what = "the files of blobs cannot be opened";
    int err = tl_blobs_open(app->data_dir, app->db, &app->blobs);
    if (err < 0)
        return err;
    app->services.blobs = app->blobs;
    *ret_what = "the network cannot be set up";
    err = open_net(app, diag);
    if (err < 0)
        return err;
    *ret_what = "the supervisor of workers cannot be started";
    if (!worker || access(worker, X_OK) < 0)
        return tl_diag_add(diag, NULL, NULL, NULL, "%s cannot be run; $TALOS_WORKER may say where talos-worker is",
                           worker ? worker : "talos-worker");
    const struct tl_jobs_conf jobs = {.worker_path = worker, .blobs = app->blobs};
    err = tl_jobs_new(&jobs, &app->jobs);
    if (err < 0)
        return err;
    app->services.jobs = app->jobs;
    *ret_what = "there is no room for plans";
    err = tl_plans_new(app->db, &app->services.plans);
    if (err < 0)
        return err;
    *ret_what = "the catalog cannot be opened";
    err = tl_cat_open(app->db, app->keyring, &app->services, &app->catalog, diag);
    if (err < 0)
        return err;
    *ret_what = "the executor cannot be started";
    struct tl_exec_conf exec = {.db = app->db,
                                      .services = &app->services,
                                      .replan = replan,
                                      .cache_key = cache_key,
                                      .cache_max = app->conf.cache_max,
                                      .step_id = step_id,
                                      .step_seal = step_seal,
                                      .step_open = step_open,
                                      .complete = complete,
                                      .notify = notify,
                                      .arg = app};
    memcpy(exec.places, app->conf.places, sizeof(exec.places));
    /* A node that computes needs a thread of its own. */
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < 1 || exec.places[TL_CLASS_CPU] > (unsigned)cores)
        exec.threads = exec.places[TL_CLASS_CPU];
    err = tl_exec_new(&exec, &app->exec);
    return err ? err : tl_retain_new(app->exec, app->conf.keep_ms, &app->retain);
}

static int take_conf(struct tl_app *app, const struct tl_app_conf *conf)
{
    const char *bytes = getenv("TALOS_CACHE_MAX");
    app->conf = *conf;
    if (app->conf.cache_max || !bytes || !*bytes || tl_cli_bytes(bytes, &app->conf.cache_max))
        return 0;
    tl_cli_say("TALOS_CACHE_MAX takes bytes such as 512M or 2G, not '%s'", bytes);
    return TL_EINVAL;
}

int tl_app_open(struct tl_app *app, const char *dir, const struct tl_app_conf *conf)
{
    int err = take_dir(app, dir);
    if (!err)
        err = take_conf(app, conf);
    if (err < 0) {
        tl_app_close(app);
        return err;
    }
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    const char *what = "the data directory cannot be made";
    err = tl_fs_mkdirs(app->data_dir);
    if (!err) {
        what = "the database or its keys cannot be opened";
        err = open_keys(app, TL_DB_CREATE | TL_DB_EXCLUSIVE, TL_KEYRING_CREATE, &diag);
    }
    if (!err)
        err = open_services(app, &diag, &what);
    if (err < 0) {
        fail(app, err, what, &diag);
        tl_app_close(app);
    }
    return err;
}

int tl_app_listen(struct tl_app *app, const char *host, int port, const char *web_dir)
{
    const struct tl_server_conf conf = {.host = host,
                                        .port = port,
                                        .web_dir = web_dir,
                                        .db = app->db,
                                        .blobs = app->blobs,
                                        .exec = app->exec,
                                        .catalog = app->catalog,
                                        .services = &app->services,
                                        .data_dir = app->data_dir,
                                        .issuer_public = tl_keyring_issuer_public(app->keyring)};
    struct tl_server *server = NULL;
    int err = tl_server_new(&conf, &server);
    if (err < 0) {
        if (err == TL_EBUSY)
            tl_cli_say("the address %s:%d is in use", host, port);
        else
            tl_cli_fail(err, "the address %s:%d cannot be served", host, port);
        return err;
    }
    atomic_store(&app->server, server);
    int failed = 0, resumed = tl_exec_resume(app->exec, &failed);
    if (resumed < 0)
        return fail(app, resumed, "runs that had not ended cannot be taken up", NULL);
    if (failed)
        tl_log(TL_LOG_ERROR, "run.resume", "%d runs could not be taken up; talos check says what is wrong", failed);
    return 0;
}

static int nothing(struct tl_txn *txn, void *arg)
{
    (void)txn, (void)arg;
    return 0;
}

void tl_app_close(struct tl_app *app)
{
    if (!app)
        return;
    tl_retain_free(app->retain);
    tl_exec_free(app->exec); /* first: no op and no run is at work afterwards */
    struct tl_server *server = atomic_exchange(&app->server, NULL);
    if (server && app->db)
        tl_db_update(app->db, nothing, NULL); /* returns after the writer thread's last notification */
    tl_server_free(server);
    tl_jobs_free(app->jobs);
    tl_net_free(app->net);
    tl_llm_free(app->services.llm);
    tl_destinations_free(app->services.destinations);
    tl_plans_free(app->services.plans);
    tl_cat_close(app->catalog);
    tl_blobs_close(app->blobs);
    tl_keyring_close(app->keyring);
    tl_db_close(app->db);
    free(app->data_dir);
    memset(app, 0, sizeof(*app));
}

static int open_reading(struct tl_app *app, unsigned db_flags, unsigned key_flags, bool catalog, struct tl_diag *diag)
{
    int err = open_keys(app, db_flags, key_flags, diag);
    app->services.db = app->db;
    return err || !catalog ? err : tl_cat_open(app->db, app->keyring, &app->services, &app->catalog, diag);
}

int tl_app_open_beside(struct tl_app *app, const char *dir, bool catalog)
{
    int err = take_dir(app, dir);
    if (err < 0)
        return err;
    struct tl_diag diag TL_CLEANUP(tl_diag_clear) = {0};
    /* Reading first, so that a server that is starting does not find the directory taken. What a first start would have made is made in the second
     * round, and where a server is just doing so, it is read in the third. */
    for (int round = 0; round < 3; round++) {
        bool make = round == 1;
        tl_diag_clear(&diag);
        err = make ? tl_fs_mkdirs(app->data_dir) : 0;
        if (!err)
            err = open_reading(app, make ? TL_DB_CREATE | TL_DB_EXCLUSIVE : TL_DB_READ, make ? TL_KEYRING_CREATE : 0,
                               catalog, &diag);
        if (err >= 0 || (round == 0 && err == TL_ECORRUPT) || (round == 1 && err != TL_EBUSY))
            break;
        tl_cat_close(app->catalog);
        tl_keyring_close(app->keyring);
        tl_db_close(app->db);
        app->catalog = NULL;
        app->keyring = NULL;
        app->db = NULL;
    }
    if (err < 0) {
        fail(app, err, "the database or its keys cannot be opened", &diag);
        tl_app_close(app);
    }
    return err;
}
