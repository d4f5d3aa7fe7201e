/* Where a run runs, as `talos run` sees it: in this process, or on a server. One set of functions for both, so that there is one command. */
#ifndef TL_CLI_DOOR_H
#define TL_CLI_DOOR_H

#include "base/json.h"
#include "cli/wait.h"
#include "graph/estimate.h"

struct tl_cli_door;

/* What is to be run, and how. Borrowed. */
struct tl_cli_start {
    const char *name;
    json_t *graph;
    const char *priority;             /* low, usual, high, or NULL */
    struct tl_estimate_budget budget; /* of cost and tokens */
};

struct tl_cli_door_ops {
    /* A template with its graph; TL_ENOTFOUND. Returned owned. */
    int (*template)(struct tl_cli_door *door, const char *id, json_t **ret);
    /* Takes in a file. *ret is its record: {"id","name","content_type","bytes","sha256",…}; owned. */
    int (*upload)(struct tl_cli_door *door, const char *path, const char *content_type, const char *name, json_t **ret);
    /* What a run would take: the answer of a dry run (SPEC.md, section 10), owned; TL_EINVAL with problems. */
    int (*estimate)(struct tl_cli_door *door, const struct tl_cli_start *start, json_t **ret, struct tl_diag *diag);
    /* Starts a run. TL_EINVAL with problems in diag, TL_EBUDGET where it would take more than its budget. */
    int (*start)(struct tl_cli_door *door, const struct tl_cli_start *start, struct tl_diag *diag);
    const char *(*run_id)(struct tl_cli_door *door); /* once started */
    /* Hands over the events that have come since the last call; the door's tl_cli_wait is poked when there are more. An error is the end of it. */
    int (*events)(struct tl_cli_door *door, void (*visit)(void *arg, const char *json, size_t len), void *arg);
    int (*next_ms)(struct tl_cli_door *door); /* when events wants to be called although nothing came; -1: not */
    int (*cancel)(struct tl_cli_door *door);
    /* Writes the bytes of an output to fd. */
    int (*fetch)(struct tl_cli_door *door, const char *node, const char *port, const json_t *media, int fd);
    void (*close)(struct tl_cli_door *door);
};

struct tl_cli_door {
    const struct tl_cli_door_ops *ops;
};

/* Both borrow wait and say on standard error what fails. dir NULL: the default. */
int tl_cli_door_local(const char *dir, struct tl_cli_wait *wait, struct tl_cli_door **ret);
int tl_cli_door_server(const char *url, const char *token, struct tl_cli_wait *wait, struct tl_cli_door **ret);

#endif
