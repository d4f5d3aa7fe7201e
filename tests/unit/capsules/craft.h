/* Runs craft ops, and the auteurs' private graphs, through the real executor. Tests run in the root of the sources. */
#ifndef TL_TESTS_UNIT_CAPSULES_CRAFT_H
#define TL_TESTS_UNIT_CAPSULES_CRAFT_H

#include "capsules/services.h"
#include "graph/run.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* wants the four above it */

extern const char *const craft_auteurs[]; /* folders of catalog/auteur/, NULL-terminated */
extern struct tl_services craft_services;

int craft_setup(void **state);
int craft_teardown(void **state);

/* A document from JSON text, of a file of the sources, or with %-arguments of json_pack; each asserts. Returned owned. */
json_t *craft_json(const char *text);
json_t *craft_file(const char *path);
/* Runs one op alone, with literals for inputs; takes both objects. The outputs by port name, or NULL with *ret_err where the run failed. Returned owned. */
json_t *craft_op(const char *op, json_t *params, json_t *inputs, int *ret_err);
/* Runs an auteur's private graph. given: its inputs by name (and "upstream_context"), params: those that differ from their defaults; takes both.
 * The outputs of its graph.output; asserts. Returned owned. */
json_t *craft_auteur(const char *folder, json_t *given, json_t *params);
/* The same where a model is configured that answers every question with answer (borrowed) and has the form asked for. */
json_t *craft_auteur_asking(const char *folder, json_t *given, json_t *answer);
/* Plans a private document against its spec. TL_EINVAL with problems. */
int craft_plan_private(const json_t *spec, json_t *private_doc, struct tl_plan **ret, struct tl_diag *diag);

/* Number i of an output. */
double craft_num(const json_t *outputs, const char *port, size_t i);

#endif
