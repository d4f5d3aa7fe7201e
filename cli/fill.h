/* Filling in a graph from the command line: --set node.param=value and --input name=file. */
#ifndef TL_CLI_FILL_H
#define TL_CLI_FILL_H

#include "cli/door.h"

/* What a template, or a file with a graph, holds. */
struct tl_cli_fill {
    json_t *graph;  /* owned; a copy that may be changed */
    json_t *inputs; /* a template's "inputs", or NULL; owned */
    char *name;
    json_t *uploads; /* [sha256] of files that were taken in; owned */
};

/* json: a template, a canvas with "graph", or a graph. Borrows it. TL_EINVAL where it is none of these. */
int tl_cli_fill_init(struct tl_cli_fill *fill, json_t *json, const char *name);
void tl_cli_fill_clear(struct tl_cli_fill *fill);
/* "node.param=value" or "node.inputs.port=value"; value is JSON where it reads as such, else text. */
int tl_cli_fill_set(struct tl_cli_fill *fill, const char *text, struct tl_diag *diag);
/* "name=file": name is one of the template's inputs (by its node, its parameter, or node.param), or node.param or node.inputs.port of any graph. An input of kind
 * text gets the file's text, one of kind number or choice the value itself; every other file is taken in through door, and stands in the graph as its id, or in a port as a
 * media reference. */
int tl_cli_fill_input(struct tl_cli_fill *fill, struct tl_cli_door *door, const char *text, struct tl_diag *diag);

/* By the end of its name: "video/mp4", and the kind of medium, "video". */
const char *tl_cli_fill_content_type(const char *file, const char **ret_kind);
/* The other way round: ".mp4"; "" where none is known. */
const char *tl_cli_fill_extension(const char *content_type);

#endif
