/* What every craft op needs: clamped inputs, outputs with one sticky error, and its facts. For ops whose inputs are small: nothing here blocks. */
#ifndef TL_CAPSULES_CRAFT_OP_H
#define TL_CAPSULES_CRAFT_OP_H

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "capsules/craft/color.h"
#include "capsules/craft/curve.h"
#include "capsules/craft/num.h"
#include "capsules/craft/rhythm.h"
#include "graph/op_ctx.h"

enum { TL_CRAFT = TL_OP_PURE | TL_OP_PRIVATE, TL_COLOURS_MAX = 12 };

/* A number between min and max, given with its default as JSON text. */
#define TL_CRAFT_PARAM(name, min, max, def, doc)                                                                       \
    {                                                                                                                  \
        name, TL_P_NUMBER, 0, min, max, 0, NULL, def, doc                                                              \
    }

/* A number input within [low, high]; otherwise where it has no value. */
double tl_craft_in(struct tl_op_ctx *ctx, const char *port, double otherwise, double low, double high);
/* A number of a scene, clip or facts object: 0 where absent, clamped to [low, high]. */
double tl_craft_of(const json_t *object, const char *key, double low, double high);

/* A curve of at least two values; a flat one of 0.5 where the port has none. */
struct tl_craft_curve {
    double *v; /* malloc'd */
    size_t n;
    struct tl_curve_stats stats;
};
int tl_craft_curve_in(struct tl_op_ctx *ctx, const char *port, struct tl_craft_curve *ret);
void tl_craft_curve_clear(struct tl_craft_curve *c); /* for TL_CLEANUP */
#define TL_AUTO_CURVE TL_CLEANUP(tl_craft_curve_clear)

/* The usual shot of this scene, tl_rhythm_base() of the inputs pace and clip and the parameters base_sec, pace_gain and clip_pull, which every rhythm op
 * has. A scene whose curve lies high is paced up by half of what it lies above the middle. */
double tl_craft_base_shot(struct tl_op_ctx *ctx, const struct tl_craft_curve *c, double duration);
#define TL_CRAFT_RHYTHM_PARAMS(base_sec, pace_gain)                                                                    \
    TL_CRAFT_PARAM("base_sec", 0.4, 120, base_sec, "the usual shot"),                                                  \
        TL_CRAFT_PARAM("pace_gain", 0, 1, pace_gain, "how strongly pace shortens it"),                                 \
        TL_CRAFT_PARAM("clip_pull", 0, 0.3, "0.15", "how far the clip's own cutting counts")

/* Colours of a palette on its way: [[L, a, b], …]. TL_ESCHEMA where the port has no such list. */
int tl_craft_colours_in(struct tl_op_ctx *ctx, const char *port, struct tl_lab ret[TL_COLOURS_MAX], size_t *ret_n);

/* Outputs. After the first error the others do nothing, and tl_out_end returns it. */
struct tl_out {
    struct tl_op_ctx *ctx;
    json_t *facts; /* owned; NULL until the first fact */
    int err;
};
void tl_out_number(struct tl_out *o, const char *port, double v);
void tl_out_floats(struct tl_out *o, const char *port, const double *v, size_t n);
void tl_out_json(struct tl_out *o, const char *port, json_t *takes);
void tl_out_colours(struct tl_out *o, const char *port, const struct tl_lab *v, size_t n);
void tl_out_fact(struct tl_out *o, const char *name, double v);
/* Sets the port "facts", where there are any. Releases o. */
int tl_out_end(struct tl_out *o);

#endif
