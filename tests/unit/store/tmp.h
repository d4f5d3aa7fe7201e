/* A temporary data directory for a test: made under $TMPDIR, removed with all that is in it. */
#ifndef TL_TESTS_UNIT_STORE_TMP_H
#define TL_TESTS_UNIT_STORE_TMP_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char tmp_dir[PATH_MAX];

__attribute__((unused)) static const char *tmp_path(const char *name)
{
    static char paths[8][PATH_MAX];
    static unsigned next;
    char *p = paths[next++ % 8];
    snprintf(p, PATH_MAX, "%.2000s/%.2000s", tmp_dir, name);
    return p;
}

static int tmp_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

__attribute__((unused)) static int tmp_setup(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(tmp_dir, sizeof(tmp_dir), "%.2000s/talos-test-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(tmp_dir) ? 0 : -1;
}

__attribute__((unused)) static int tmp_teardown(void **state)
{
    (void)state;
    return nftw(tmp_dir, tmp_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
