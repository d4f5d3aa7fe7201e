#include "worker/media/cloud.h"

#include <math.h>

enum { MAX_K = 16, ROUNDS = 24 };
static const float ab_range = 0.36f;

static int ab_bin(float v)
{
    int i = (int)((v + ab_range) / (2 * ab_range) * TL_CLOUD_AB);
    return i < 0 ? 0 : i >= TL_CLOUD_AB ? TL_CLOUD_AB - 1 : i;
}

void tl_wk_cloud_add(struct tl_wk_cloud *c, struct tl_lab v)
{
    int l = (int)(v.L * TL_CLOUD_L), t = (int)(v.L * TL_CLOUD_TONES);
    l = l < 0 ? 0 : l >= TL_CLOUD_L ? TL_CLOUD_L - 1 : l;
    t = t < 0 ? 0 : t >= TL_CLOUD_TONES ? TL_CLOUD_TONES - 1 : t;
    int i = (l * TL_CLOUD_AB + ab_bin(v.a)) * TL_CLOUD_AB + ab_bin(v.b);
    c->cell[i].n++;
    c->cell[i].L += v.L;
    c->cell[i].a += v.a;
    c->cell[i].b += v.b;
    c->tones[t]++;
    c->n++;
}

double tl_wk_cloud_quantile(const struct tl_wk_cloud *c, double p)
{
    double want = p * c->n, seen = 0;
    for (int i = 0; i < TL_CLOUD_TONES; i++) {
        if (c->tones[i] > 0 && seen + c->tones[i] >= want)
            return (i + (want - seen) / c->tones[i]) / TL_CLOUD_TONES;
        seen += c->tones[i];
    }
    return 1;
}

static double distance2(struct tl_lab x, struct tl_lab y)
{
    double l = x.L - y.L, a = x.a - y.a, b = x.b - y.b;
    return l * l + 2 * (a * a + b * b); /* hue tells colours apart more than lightness does */
}

struct point {
    struct tl_lab at;
    double n, pull; /* pull: the damped count that clusters by, so that a large plain area leaves room for accents */
};

static size_t nearest(const struct tl_lab *centres, size_t k, struct tl_lab at)
{
    size_t best = 0;
    for (size_t i = 1; i < k; i++)
        if (distance2(centres[i], at) < distance2(centres[best], at))
            best = i;
    return best;
}

/* The heaviest colour first, then always the one that is farthest from those chosen, by weight. */
static size_t seed(const struct point *p, size_t n, size_t k, struct tl_lab *centres)
{
    size_t have = 0;
    while (have < k) {
        double best = 0;
        size_t at = n;
        for (size_t i = 0; i < n; i++) {
            double far = have ? distance2(centres[nearest(centres, have, p[i].at)], p[i].at) : 1;
            if (far > 1e-5 && far * p[i].pull > best) {
                best = far * p[i].pull;
                at = i;
            }
        }
        if (at == n)
            break;
        centres[have++] = p[at].at;
    }
    return have;
}

static void refine(const struct point *p, size_t n, size_t k, struct tl_lab *centres, double *weights)
{
    for (int round = 0; round < ROUNDS; round++) {
        double L[MAX_K] = {0}, a[MAX_K] = {0}, b[MAX_K] = {0}, pull[MAX_K] = {0};
        for (size_t i = 0; i < k; i++)
            weights[i] = 0;
        for (size_t i = 0; i < n; i++) {
            size_t c = nearest(centres, k, p[i].at);
            L[c] += p[i].pull * p[i].at.L;
            a[c] += p[i].pull * p[i].at.a;
            b[c] += p[i].pull * p[i].at.b;
            pull[c] += p[i].pull;
            weights[c] += p[i].n;
        }
        for (size_t i = 0; i < k; i++)
            if (pull[i] > 0)
                centres[i] = (struct tl_lab){(float)(L[i] / pull[i]), (float)(a[i] / pull[i]), (float)(b[i] / pull[i])};
    }
}

size_t tl_wk_cloud_palette(const struct tl_wk_cloud *c, size_t k, struct tl_wk_swatch *ret)
{
    struct point points[2048];
    size_t n = 0;
    /* Cells with less than one colour in 20,000 are noise; the rest is few enough for the table. */
    for (int i = 0; i < TL_CLOUD_N && n < sizeof(points) / sizeof(points[0]); i++) {
        double m = c->cell[i].n;
        if (m > 0 && m * 20000 >= c->n)
            points[n++] = (struct point){
                {(float)(c->cell[i].L / m), (float)(c->cell[i].a / m), (float)(c->cell[i].b / m)}, m, pow(m, 0.6)};
    }
    struct tl_lab centres[MAX_K];
    double weights[MAX_K];
    k = seed(points, n, k < MAX_K ? k : MAX_K, centres);
    refine(points, n, k, centres, weights);
    for (size_t i = 0; i < k; i++) {
        struct tl_wk_swatch s = {centres[i], c->n > 0 ? weights[i] / c->n : 0};
        size_t at = i;
        for (; at > 0 && ret[at - 1].color.L > s.color.L; at--)
            ret[at] = ret[at - 1];
        ret[at] = s;
    }
    return k;
}
