/* The style vector: twelve axes in a fixed order (film.md, "How an auteur shows in the picture"), what the capsules emit and media.look
 * reads. An index here is an index into style_vector. */
#ifndef TL_WIRE_STYLE_H
#define TL_WIRE_STYLE_H

/* X(symbol, name, low, high, neutral, unit) */
#define TL_STYLE_TABLE(X)                                                                                              \
    X(TL_STYLE_SHOT_LENGTH, "log_shot_length", -0.7, 4.1, 1.386, "ln(seconds) of the mean shot")                       \
    X(TL_STYLE_SHOT_VARIATION, "shot_variation", 0.0, 1.5, 0.5, "standard deviation of ln(shot length)")               \
    X(TL_STYLE_SYMMETRY, "symmetry", 0.0, 1.0, 0.3, "share of mirrored structure; 1 is a mirrored frame")              \
    X(TL_STYLE_MOTION, "motion", 0.0, 1.0, 0.4, "0 locked, 1 always moving")                                           \
    X(TL_STYLE_HANDHELD, "handheld", 0.0, 1.0, 0.1, "0 on sticks, 1 running with the camera")                          \
    X(TL_STYLE_DIFFUSION, "diffusion", 0.0, 1.0, 0.1, "halo around highlights, as a share of their light")             \
    X(TL_STYLE_KEY, "key_lightness", 0.0, 1.0, 0.5, "median OKLab L of the picture")                                   \
    X(TL_STYLE_CHROMA, "chroma", 0.0, 0.3, 0.08, "mean OKLCh C of the picture")                                        \
    X(TL_STYLE_HUE_COS, "hue_cos", -1.0, 1.0, 0.0, "cosine of the leading OKLCh hue, times its strength")              \
    X(TL_STYLE_HUE_SIN, "hue_sin", -1.0, 1.0, 0.0, "sine of the leading OKLCh hue, times its strength")                \
    X(TL_STYLE_BEAT_SYNC, "beat_sync", 0.0, 1.0, 0.2, "share of cuts that fall on a beat")                             \
    X(TL_STYLE_SCALE, "shot_scale", -1.0, 1.0, 0.0, "-1 extreme long shots, 1 close-ups")

enum tl_style_axis {
#define X(sym, name, low, high, neutral, unit) sym,
    TL_STYLE_TABLE(X)
#undef X
        TL_STYLE_AXES
};

struct tl_style_info {
    const char *name;
    double low, high, neutral;
    const char *unit;
};
extern const struct tl_style_info tl_style_info[TL_STYLE_AXES];

#endif
