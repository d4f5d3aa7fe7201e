#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/app.h"
#include "cli/cli.h"
#include "server/token.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

struct options {
    const char *data, *sub, *org, *role;
    long ttl;
};

static int parse(const struct tl_cmd *cmd, int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {{"data", required_argument, NULL, 'd'},
                                          {"sub", required_argument, NULL, 's'},
                                          {"org", required_argument, NULL, 'o'},
                                          {"role", required_argument, NULL, 'r'},
                                          {"ttl", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "h", longs, NULL)) != -1;) {
        switch (c) {
        case 'h':
            fputs(cmd->help, stdout);
            return TL_EXIT_OK;
        case 'd':
            o->data = optarg;
            break;
        case 's':
            o->sub = optarg;
            break;
        case 'o':
            o->org = optarg;
            break;
        case 'r':
            o->role = optarg;
            break;
        case 't':
            if (!tl_cli_seconds(optarg, &o->ttl) || o->ttl > TL_TOKEN_TTL_MAX)
                return tl_cli_usage(cmd, "--ttl takes a time such as 15m, 1h or 7d, at most %dd, not '%s'",
                                    TL_TOKEN_TTL_MAX / 86400, optarg);
            break;
        default:
            return tl_cli_usage(cmd, "that option is not known or lacks its value");
        }
    }
    return optind < argc ? tl_cli_usage(cmd, "token takes no '%s'", argv[optind]) : -1;
}

static int issue(const struct tl_cmd *cmd, const struct options *o)
{
    struct tl_claims claims = {.role = tl_role_parse(o->role)};
    if (claims.role == TL_ROLE_NONE)
        return tl_cli_usage(cmd, "--role takes viewer, member, author or admin, not '%s'", o->role);
    if (!tl_token_name_ok(o->sub) || !tl_token_name_ok(o->org))
        return tl_cli_usage(cmd, "--sub and --org take 1 to %d bytes of printable text", TL_TOKEN_NAME - 1);
    if (!strcmp(o->org, TL_ORG_BUILTIN))
        return tl_cli_usage(cmd, "the organisation '%s' owns the built-in capsules; nobody acts for it", o->org);
    snprintf(claims.sub, sizeof(claims.sub), "%s", o->sub);
    snprintf(claims.org, sizeof(claims.org), "%s", o->org);
    struct tl_app app;
    int err = tl_app_open_beside(&app, o->data, false);
    if (err < 0)
        return tl_cli_exit_status(err);
    TL_AUTO_FREE char *token =
        tl_token_issue(tl_keyring_issuer_secret(app.keyring), tl_keyring_issuer_public(app.keyring), &claims, o->ttl);
    tl_app_close(&app);
    if (!token)
        return tl_cli_fail(TL_EINTERNAL, "the token cannot be made");
    char until[TL_TIME_TEXT];
    tl_time_text(tl_now_ms() + o->ttl * 1000, until);
    fprintf(stderr, "A token for %s of %s as %s, until %s:\n", o->sub, o->org, o->role, until);
    puts(token);
    return TL_EXIT_OK;
}

static int run(const struct tl_cmd *cmd, int argc, char **argv)
{
    struct options o = {.sub = TL_LOCAL_SUB, .org = TL_LOCAL_ORG, .role = "member", .ttl = TL_TOKEN_TTL};
    int status = parse(cmd, argc, argv, &o);
    return status < 0 ? issue(cmd, &o) : status;
}

const struct tl_cmd tl_cmd_token = {
    .name = "token",
    .summary = "make an access token for somebody",
    .help = "Usage: talos token [--data DIR] [--sub ID] [--org ORG] [--role ROLE] [--ttl TIME]\n\n"
            "Prints a token, signed by the data directory's own issuer key, as the last line of standard output. Works "
            "beside a running\n"
            "server, and before the first start.\n\n"
            "  --data DIR   the data directory (default: $TALOS_DATA, else ~/.local/share/talos)\n"
            "  --sub ID     who it is for (default owner)\n"
            "  --org ORG    the organisation acted for (default local)\n"
            "  --role ROLE  viewer, member, author or admin (default member)\n"
            "  --ttl TIME   how long it is good: 90s, 15m, 1h, 7d (default 1h)\n\n"
            "Use it as the header 'Authorization: Bearer TOKEN'.\n\n"
            "Exit status: 0; 2 wrong usage; 5 the storage or the keys cannot be read.\n",
    .run = run,
};
