/* The HTTP server: HTTP/1.1, Server-Sent Events and WebSocket on one service thread. */
#ifndef TL_SERVER_SERVER_H
#define TL_SERVER_SERVER_H

#include "capsules/services.h"
#include "catalog/catalog.h"
#include "graph/run.h"

struct tl_server;

struct tl_server_conf {
    const char *host; /* "127.0.0.1" */
    int port;         /* 0: any free one, see tl_server_port */
    const char *web_dir; /* static files of the canvas, or NULL */
    struct tl_db *db;
    struct tl_blobs *blobs;
    struct tl_exec *exec;
    struct tl_catalog *catalog;
    struct tl_services *services;
    const char *data_dir;
    const uint8_t *issuer_public; /* Ed25519, 32 bytes */
    size_t body_budget; /* bytes of bodies held in memory at once, all together; beyond it 503. 0: 512 MiB */
    int heartbeat_ms, laggard_ms, sync_wait_ms; /* 0: 15 s between signs of life of a stream, 15 s for a client to read on, 30 s */
};
/* Binds and is ready to answer; TL_EBUSY where the address is taken. */
int tl_server_new(const struct tl_server_conf *conf, struct tl_server **ret);
int tl_server_port(const struct tl_server *srv);
/* Serves on this thread until tl_server_stop. */
int tl_server_run(struct tl_server *srv);
void tl_server_stop(struct tl_server *srv); /* any thread, and a signal handler */
void tl_server_free(struct tl_server *srv);
/* tl_exec_conf.notify, arg a struct tl_server ** (NULL inside until the server stands). */
void tl_server_notify(void *server_pp, const struct tl_id *run, uint64_t seq, bool ended);
/* A single-use login path ("/login?code=…") for org and role, valid 10 minutes. Returned owned. */
char *tl_server_login_path(struct tl_server *srv, const char *org, const char *sub, const char *role);

#endif
