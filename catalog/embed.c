/* The built-in files, part of the program. The list is catalog/builtin_list.def; the Makefile names the files as
 * prerequisites of this object, for .incbin is invisible to the compiler's dependencies. Paths are relative to the
 * folder that the compiler runs in: the top of the sources. */
#include "catalog/builtin.h"

#define EMBED(sym, file)                                                                                               \
    extern const char tl_embed_##sym[], tl_embed_##sym##_end[];                                                        \
    __asm__(".pushsection .rodata\n"                                                                                   \
            ".globl tl_embed_" #sym ", tl_embed_" #sym "_end\n"                                                        \
            ".hidden tl_embed_" #sym ", tl_embed_" #sym "_end\n"                                                       \
            "tl_embed_" #sym ":\n.incbin \"" file "\"\n"                                                               \
            "tl_embed_" #sym "_end: .byte 0\n"                                                                         \
            ".popsection\n");

#define CAPSULE(sym, dir) EMBED(sym##_spec, dir "/spec.json") EMBED(sym##_private, dir "/private.json")
#define TEMPLATE(sym, file) EMBED(sym, file)
#define PATTERNS(sym, file) EMBED(sym, file)
#include "catalog/builtin_list.def"
#undef CAPSULE
#undef TEMPLATE
#undef PATTERNS

const struct tl_builtin_file tl_builtin_files[] = {
#define ROW(kind, sym, file) {kind, file, tl_embed_##sym, tl_embed_##sym##_end},
#define CAPSULE(sym, dir)                                                                                              \
    ROW(TL_BUILTIN_SPEC, sym##_spec, dir "/spec.json") ROW(TL_BUILTIN_PRIVATE, sym##_private, dir "/private.json")
#define TEMPLATE(sym, file) ROW(TL_BUILTIN_TEMPLATE, sym, file)
#define PATTERNS(sym, file) ROW(TL_BUILTIN_PATTERNS, sym, file)
#include "catalog/builtin_list.def"
    {TL_BUILTIN_END, NULL, NULL, NULL},
};
const size_t tl_builtin_count = sizeof(tl_builtin_files) / sizeof(tl_builtin_files[0]) - 1;
