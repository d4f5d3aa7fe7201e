#include "server/etag.h"

#include <stdio.h>
#include <string.h>

void tl_etag_revision(uint64_t revision, char ret[TL_ETAG_TEXT])
{
    snprintf(ret, TL_ETAG_TEXT, "\"%llu\"", (unsigned long long)revision);
}

bool tl_etag_match(const char *header, const char *tag)
{
    size_t n = strlen(tag);
    for (const char *p = header; *p;) {
        p += strspn(p, " \t,");
        if (*p == '*')
            return true;
        if (strncmp(p, tag, n) == 0 && (p[n] == '\0' || p[n] == ',' || p[n] == ' ' || p[n] == '\t'))
            return true;
        p += strcspn(p, ",");
    }
    return false;
}
