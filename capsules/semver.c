#include "capsules/spec.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* One numeric part: digits, no leading zero, at most nine so that it fits. Returns the end, NULL where there is none.
 */
static const char *number(const char *s)
{
    size_t n = strspn(s, "0123456789");
    return n == 0 || n > 9 || (n > 1 && s[0] == '0') ? NULL : s + n;
}

/* Dot-separated identifiers of letters, digits and '-'; numeric ones without leading zeros. */
static bool prerelease(const char *s)
{
    for (;;) {
        size_t n = 0;
        bool digits = true;
        for (; isalnum((unsigned char)s[n]) || s[n] == '-'; n++)
            digits = digits && isdigit((unsigned char)s[n]);
        if (n == 0 || (digits && n > 1 && s[0] == '0'))
            return false;
        if (s[n] == '\0')
            return true;
        if (s[n] != '.')
            return false;
        s += n + 1;
    }
}

bool tl_cap_version_valid(const char *v)
{
    if (!v || strlen(v) > TL_CAP_NAME_MAX)
        return false;
    for (int i = 0; i < 3; i++) {
        v = number(v);
        if (!v || (i < 2 && *v++ != '.'))
            return false;
    }
    return *v == '\0' || (*v == '-' && prerelease(v + 1));
}

static int compare_identifiers(const char *a, size_t na, const char *b, size_t nb)
{
    bool da = strspn(a, "0123456789") >= na, db = strspn(b, "0123456789") >= nb;
    if (da != db)
        return da ? -1 : 1; /* numeric ones come first */
    if (da && na != nb)
        return na < nb ? -1 : 1;
    int c = strncmp(a, b, na < nb ? na : nb);
    return c ? c : (na > nb) - (na < nb);
}

int tl_cap_version_compare(const char *a, const char *b)
{
    for (int i = 0; i < 3; i++) {
        char *ea, *eb;
        unsigned long x = strtoul(a, &ea, 10), y = strtoul(b, &eb, 10);
        if (x != y)
            return x < y ? -1 : 1;
        a = ea + (*ea == '.');
        b = eb + (*eb == '.');
    }
    if (!*a || !*b)
        return (*b != '\0') - (*a != '\0'); /* a release comes after its pre-releases */
    a++, b++;
    for (;;) {
        size_t na = strcspn(a, "."), nb = strcspn(b, ".");
        int c = compare_identifiers(a, na, b, nb);
        if (c)
            return c;
        a += na, b += nb;
        if (!*a || !*b)
            return (*a != '\0') - (*b != '\0');
        a++, b++;
    }
}
