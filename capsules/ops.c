#include "capsules/services.h"

#include "base/mem.h"

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

static int compare(const void *name, const void *op)
{
    return strcmp(name, (*(const struct tl_op *const *)op)->name);
}

const struct tl_op *tl_cap_find_op(void *unused, const char *name)
{
    (void)unused;
    const struct tl_op *const *found = bsearch(name, table, TL_ARRAY_LEN(table), sizeof(table[0]), compare);
    return found ? *found : NULL;
}

const struct tl_op *const *tl_cap_ops(size_t *ret_count)
{
    *ret_count = TL_ARRAY_LEN(table);
    return table;
}
