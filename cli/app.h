/* The program put together: everything that serving, and running in this process, need, opened in the order of the layers and closed in reverse. The only
 * place that knows all of them. */
#ifndef TL_CLI_APP_H
#define TL_CLI_APP_H

#include "capsules/keyring.h"
#include "catalog/catalog.h"
#include "graph/retain.h"
#include "graph/run.h"
#include "jobs/jobs.h"
#include "net/net.h"
#include "server/server.h"

/* What the operator may choose; zeroed: the environment's choice, else what is usual. */
struct tl_app_conf {
    uint64_t cache_max;              /* bytes of results kept on disk; else $TALOS_CACHE_MAX, 1 GiB */
    unsigned places[TL_CLASS_COUNT]; /* nodes of each class at work at once */
    int64_t keep_ms;                 /* journals of runs that ended longer ago are cut; 0: none is */
};

struct tl_app {
    char *data_dir;
    struct tl_db *db;
    struct tl_keyring *keyring;
    struct tl_blobs *blobs;
    struct tl_net *net;
    struct tl_jobs *jobs;
    struct tl_services services;
    struct tl_catalog *catalog;
    struct tl_exec *exec;
    struct tl_retain *retain;
    struct tl_app_conf conf;
    _Atomic(struct tl_server *) server; /* NULL where there is none */
    /* Told of every event after its commit, besides the server; set before a run is started. On the writer thread: must be short. */
    void (*notify)(void *arg, const struct tl_id *run, uint64_t seq, bool ended);
    void *notify_arg;
};

/* Opens all but the server and takes the data directory for this process; makes what a first start needs. dir as given on the command line, or NULL for the
 * default. conf is copied. Says what failed on standard error. Returns 0 or an error; app is then empty. */
int tl_app_open(struct tl_app *app, const char *dir, const struct tl_app_conf *conf);
/* Binds the server and takes up the runs that a crash or an end left. */
int tl_app_listen(struct tl_app *app, const char *host, int port, const char *web_dir);
void tl_app_close(struct tl_app *app); /* an empty one is accepted */

/* The database and keys (and the catalog, where asked for) for reading, beside a running server; makes them where the directory is new. Only data_dir, db, keyring
 * and catalog are filled. */
int tl_app_open_beside(struct tl_app *app, const char *dir, bool catalog);

#endif
