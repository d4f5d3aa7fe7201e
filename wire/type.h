/* The types of ports: what may flow along an edge of a graph. */
#ifndef TL_WIRE_TYPE_H
#define TL_WIRE_TYPE_H

#include <stdbool.h>

/* X(symbol, name) — the names are those of the graph format and of capsule specs (capsule-node-spec.md §3, §10). */
#define TL_TYPE_TABLE(X)                                                                                               \
    X(TL_T_ANY, "any")                                                                                                 \
    X(TL_T_STRING, "string")                                                                                           \
    X(TL_T_NUMBER, "number")                                                                                           \
    X(TL_T_BOOLEAN, "boolean")                                                                                         \
    X(TL_T_FLOATS, "float[]")                                                                                          \
    X(TL_T_STRINGS, "string[]")                                                                                        \
    X(TL_T_JSON, "json")                                                                                               \
    X(TL_T_VIDEO, "video")                                                                                             \
    X(TL_T_IMAGE, "image")                                                                                             \
    X(TL_T_AUDIO, "audio")                                                                                             \
    X(TL_T_FILE, "file")

enum tl_type {
#define X(sym, name) sym,
    TL_TYPE_TABLE(X)
#undef X
        TL_T_COUNT
};

const char *tl_type_name(enum tl_type type);
bool tl_type_parse(const char *name, enum tl_type *ret);
/* Whether a value of type from may go into a port of type to: the same type; any accepts and is accepted everywhere (its
 * value is checked when it arrives); json takes every type that is not media; file takes every medium. */
bool tl_type_accepts(enum tl_type to, enum tl_type from);
bool tl_type_is_media(enum tl_type type);

#endif
