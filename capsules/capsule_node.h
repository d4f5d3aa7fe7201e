/* The op "capsule": a sealed node on a canvas, or inside another capsule. */
#ifndef TL_CAPSULES_CAPSULE_NODE_H
#define TL_CAPSULES_CAPSULE_NODE_H

#include "wire/op.h"

extern const struct tl_op tl_op_capsule;

#endif
