/* /openapi.json (OpenAPI 3.1), made from the table of routes and the schemas. */
#ifndef TL_SERVER_OPENAPI_H
#define TL_SERVER_OPENAPI_H

/* Returned owned; NULL on want of memory. */
char *tl_openapi_text(void);

/* name and schema, in JSON with ' for "; ended by a NULL name. */
struct tl_schema {
    const char *name, *text;
};
extern const struct tl_schema tl_schemas[];
/* Query parameters by name, their schema and what they are for. */
struct tl_query_doc {
    const char *name, *text, *doc;
};
extern const struct tl_query_doc tl_query_docs[];

#endif
