#include "capsules/services.h"

#include "base/mem.h"

#include "graph/control/control.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define OP(name) extern const struct tl_op tl_op_##name;
#include "capsules/ops/op_list.def"
#undef OP

static const struct tl_op *const table[] = {
#define OP(name) &tl_op_##name,
#include "capsules/ops/op_list.def"
#undef OP
};

enum { CONTROL_MAX = 16 };

/* The ops of this folder and the control nodes of graph/, sorted by name. */
static const struct tl_op *merged[TL_ARRAY_LEN(table) + CONTROL_MAX];
static size_t nmerged;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int compare(const void *name, const void *op)
{
    return strcmp(name, (*(const struct tl_op *const *)op)->name);
}

static void merge(void)
{
    size_t n, k = 0;
    const struct tl_op *const *control = tl_control_ops(&n);
    for (size_t i = 0; i < TL_ARRAY_LEN(table); i++) {
        while (k < n && k < CONTROL_MAX && strcmp(control[k]->name, table[i]->name) < 0)
            merged[nmerged++] = control[k++];
        merged[nmerged++] = table[i];
    }
    while (k < n && k < CONTROL_MAX)
        merged[nmerged++] = control[k++];
}

const struct tl_op *tl_cap_find_op(void *unused, const char *name)
{
    (void)unused;
    size_t n;
    const struct tl_op *const *ops = tl_cap_ops(&n), *const *found = bsearch(name, ops, n, sizeof(ops[0]), compare);
    return found ? *found : NULL;
}

const struct tl_op *const *tl_cap_ops(size_t *ret_count)
{
    pthread_once(&once, merge);
    *ret_count = nmerged;
    return merged;
}
