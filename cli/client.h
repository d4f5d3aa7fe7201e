/* A talos server seen from the command line: requests that are waited for, and a run's event stream that is followed across broken connections. */
#ifndef TL_CLI_CLIENT_H
#define TL_CLI_CLIENT_H

#include "base/json.h"
#include "cli/wait.h"

struct tl_cli_client;

/* server: "http://host:port" or "https://…"; "host:port" means http. token may be NULL. Borrows wait. TL_EINVAL for a URL that is none. */
int tl_cli_client_new(const char *server, const char *token, struct tl_cli_wait *wait, struct tl_cli_client **ret);
void tl_cli_client_free(struct tl_cli_client *client);

/* A request with a JSON body (or none) and its JSON answer, owned by the caller also where the server refused: then the error's own code comes back and
 * *ret is its {"error":…} body. TL_ETRANSIENT_IO where the server cannot be reached, TL_ECANCELLED after Ctrl-C. ret may be NULL. */
int tl_cli_client_call(struct tl_cli_client *client, const char *method, const char *path, const json_t *body,
                       json_t **ret);
/* Sends a file as the body of POST /api/v1/files. */
int tl_cli_client_upload(struct tl_cli_client *client, const char *file, const char *content_type, const char *name,
                         json_t **ret);
/* Writes the answer's bytes to fd. */
int tl_cli_client_download(struct tl_cli_client *client, const char *path, int fd);

/* Appends one segment of a path, encoded. */
void tl_cli_client_add_segment(struct tl_str *out, const char *text);
/* Problems as an answer has them. */
void tl_cli_client_problems(const json_t *problems, struct tl_diag *diag);
/* What an answer says that refuses a request with err, which is returned. */
int tl_cli_client_refused(int err, const json_t *answer, struct tl_diag *diag);

/* Opens the stream of a run; events gather until they are taken, and wait is poked when there are some. A connection that breaks is made again from
 * the last event, at most for a minute without any. */
int tl_cli_client_follow(struct tl_cli_client *client, const char *run_id);
/* Hands over what has gathered, each event's text whole. 0, or an error that ended the stream for good. */
int tl_cli_client_events(struct tl_cli_client *client, void (*visit)(void *arg, const char *json, size_t len),
                         void *arg);
/* Milliseconds until tl_cli_client_events wants to be called although nothing came (to connect again); -1: none. */
int tl_cli_client_next_ms(struct tl_cli_client *client);

#endif
