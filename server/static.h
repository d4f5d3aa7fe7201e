/* The canvas's files: a folder, read-only, with index.html for every address that is a page of the canvas and not a file. */
#ifndef TL_SERVER_STATIC_H
#define TL_SERVER_STATIC_H

#include "server/req.h"

/* Answers GET of a path that is no route. */
void tl_static_reply(struct tl_req *req);

/* Content-Type by the name's ending; application/octet-stream for an unknown one. Static. */
const char *tl_static_type(const char *name);

#endif
