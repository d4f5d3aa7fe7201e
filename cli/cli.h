/* What the commands share: the table of commands, exit statuses, options that recur, and how a person is told of a mistake. */
#ifndef TL_CLI_CLI_H
#define TL_CLI_CLI_H

#include "base/diag.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define TL_VERSION "0.1.0"

/* The organisation and person that the command line stands for where none is named. */
#define TL_LOCAL_ORG "local"
#define TL_LOCAL_SUB "owner"

enum tl_exit {
    TL_EXIT_OK = 0,
    TL_EXIT_FAILED = 1,      /* the run failed; check found something wrong */
    TL_EXIT_USAGE = 2,       /* wrong options, or a graph or parameter that is not valid */
    TL_EXIT_NOTFOUND = 3,    /* no such template, capsule, file or data directory */
    TL_EXIT_BUSY = 4,        /* the data directory or the address is in use */
    TL_EXIT_STORAGE = 5,     /* the storage failed, is full or does not verify */
    TL_EXIT_SERVER = 6,      /* the server cannot be reached or refuses */
    TL_EXIT_INTERNAL = 70,   /* a fault of talos */
    TL_EXIT_CANCELLED = 130, /* cancelled by Ctrl-C, SIGTERM or somebody else */
};

struct tl_cmd {
    const char *name;
    const char *summary; /* one line for `talos --help` */
    const char *help;    /* all of `talos NAME --help` */
    int (*run)(const struct tl_cmd *cmd, int argc,
               char **argv); /* argv[0] is the command's name; returns an exit status */
};
extern const struct tl_cmd tl_cmd_serve, tl_cmd_run, tl_cmd_capsule, tl_cmd_template, tl_cmd_token, tl_cmd_backup,
    tl_cmd_check, tl_cmd_why, tl_cmd_approve;

/* "talos: …" on standard error. */
void tl_cli_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, then where help is to be had. Returns TL_EXIT_USAGE. */
int tl_cli_usage(const struct tl_cmd *cmd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Says what failed and why (err's sentence). Returns the exit status that belongs to err. */
int tl_cli_fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints each problem on a line of its own. */
void tl_cli_problems(const struct tl_diag *diag);
int tl_cli_exit_status(int err);

/* The data directory: what was given, else $TALOS_DATA, else $XDG_DATA_HOME/talos, else $HOME/.local/share/talos. Returned owned; NULL where there is
 * none of these or memory is short. */
char *tl_cli_data_dir(const char *given);
/* A whole number of an option, from low to high. */
bool tl_cli_number(const char *text, long low, long high, long *ret);
/* Text in the person's language: itself, or of {"en":…,"ko":…} the one that LC_ALL, LC_MESSAGES or LANG asks for, else English. Borrowed; NULL where it is neither. */
const char *tl_cli_local(const json_t *text);
/* Bytes from "65536", "512K", "64M", "2G", "1T", at least one. */
bool tl_cli_bytes(const char *text, uint64_t *ret);
/* Days from "30", "0.5", "0", as milliseconds: 0 for 0, else at least one. */
bool tl_cli_days(const char *text, int64_t *ret_ms);
/* Seconds from "90", "90s", "15m", "2h", "7d". */
bool tl_cli_seconds(const char *text, long *ret);

#endif
