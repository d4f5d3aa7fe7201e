/* Writing what a run brought out to files. */
#ifndef TL_CLI_OUTPUTS_H
#define TL_CLI_OUTPUTS_H

#include "cli/door.h"
#include "cli/view.h"

/* Writes every medium among view's outputs to dir (made where absent) as node-port.ext; those in skip ([sha256]) not. *ret_files: {node:{port:path}}, owned, also after an
 * error. */
int tl_cli_outputs_write(struct tl_cli_door *door, const struct tl_cli_view *view, const json_t *skip, const char *dir,
                         json_t **ret_files);
/* A name for a file from a node's and a port's: nothing in it that means something to a file system. Returned owned. */
char *tl_cli_outputs_name(const char *node, const char *port, const char *extension);

#endif
