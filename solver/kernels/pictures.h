/* Stored pictures as a net sees them: value = (pixel - mean) * scale, cropped and mirrored as the sample's key says. */

enum { DRAW_MIRROR = 1, DRAW_ROW, DRAW_COLUMN };

/* The draw of a key in a stream, as data/keys.py makes it. */
AI uint64_t draw64(uint64_t key, uint64_t stream) { return mix64(key + mix64((stream + 1) * 0x9E3779B97F4A7C15ULL)); }
AI int64_t draw_below(uint64_t random, int64_t count) { return (int64_t)((random >> 32) * (uint64_t)count >> 32); }

/* One line of a picture: pixels, the mean under them and the result, with steps from channel to channel and from column
 * to column; the mean's columns are neighbours. */
typedef struct {
    const void *x;
    const float *mean;
    float *y;
    int64_t channels, columns, xc, xw, mc, yc, yw;
    float scale;
} line_args;

AI float pixel(const void *x, int64_t at, const int bytes) {
    return bytes ? (float)((const uint8_t *)x)[at] : ((const float *)x)[at];
}

/* Write a line in any layout. */
AI void line_any(const line_args *l, const int bytes, const int mirrored) {
    for (int64_t c = 0; c < l->channels; c++)
        for (int64_t w = 0; w < l->columns; w++) {
            const int64_t from = mirrored ? l->columns - 1 - w : w;
            l->y[c * l->yc + w * l->yw] =
                (pixel(l->x, c * l->xc + from * l->xw, bytes) - l->mean[c * l->mc + from]) * l->scale;
        }
}

/* Write a line from planes to interleaved channels, whose number is known to the compiler. */
AI void line_planes(const line_args *l, const int bytes, const int channels, const int mirrored) {
    const uint8_t *restrict b = l->x;
    const float *restrict x = l->x, *restrict mean = l->mean;
    float *restrict y = l->y;
    const int64_t columns = l->columns, xc = l->xc, mc = l->mc;
    const float scale = l->scale;
    for (int64_t w = 0; w < columns; w++) {
        const int64_t from = mirrored ? columns - 1 - w : w;
        for (int c = 0; c < channels; c++)
            y[w * channels + c] =
                ((bytes ? (float)b[c * xc + from] : x[c * xc + from]) - mean[c * mc + from]) * scale;
    }
}

AI void line(const line_args *l, const int bytes, const int mirrored) {
    const int planes = l->xw == 1 && l->yc == 1 && l->yw == l->channels;
    if (planes && l->channels == 3) line_planes(l, bytes, 3, mirrored);
    else if (l->channels == 1 && l->xw == 1 && l->yw == 1) line_planes(l, bytes, 1, mirrored);
    else line_any(l, bytes, mirrored);
}

/* Ask for what lies at x: the pictures of a batch are anywhere in memory. */
AI void fetch(const uint8_t *x, int64_t bytes) {
    for (int64_t i = 0; i < BREW_MIN(bytes, 4096); i += 64) __builtin_prefetch(x + i);
}

AI void write_pictures(const brew_op *op, const int bytes) {
    const int64_t *numbers = op->a[1].data;
    const int64_t high = SIZE(4, 2), wide = SIZE(4, 3), samples = SIZE(4, 0), item = bytes ? 1 : 4;
    const int64_t mirror = op->i[0], random = op->i[1];
    const uint8_t *images = op->a[0].data;
    line_args l = {.channels = SIZE(4, 1), .columns = wide, .xc = STRIDE(0, 1), .xw = STRIDE(0, 3), .mc = STRIDE(3, 0),
                   .yc = STRIDE(4, 1), .yw = STRIDE(4, 3), .scale = (float)op->f[0]};
    /* Lines that follow each other without gaps everywhere are one. */
    const int joined = !mirror && l.xw == 1 && STRIDE(0, 2) == wide && STRIDE(3, 1) == wide && STRIDE(4, 2) == wide * l.yw;
    const int64_t lines = joined ? 1 : high;
    if (joined) l.columns = high * wide;
    for (int64_t n = 0; n < samples; n++) {
        const uint64_t key = U64(2)[n] ^ (uint64_t)op->i[4];
        const int mirrored = mirror && draw64(key, DRAW_MIRROR) >> 63;
        int64_t row = op->i[2], column = op->i[3];
        if (random) {
            row = draw_below(draw64(key, DRAW_ROW), SIZE(0, 2) - high + 1);
            column = draw_below(draw64(key, DRAW_COLUMN), SIZE(0, 3) - wide + 1);
        }
        if (n + 1 < samples) fetch(images + numbers[n + 1] * STRIDE(0, 0) * item, STRIDE(0, 0) * item);
        const int64_t first = numbers[n] * STRIDE(0, 0) + row * STRIDE(0, 2) + column * l.xw;
        for (int64_t h = 0; h < lines; h++) {
            l.x = images + (first + h * STRIDE(0, 2)) * item;
            l.mean = F(3) + (row + h) * STRIDE(3, 1) + column;
            l.y = F(4) + n * STRIDE(4, 0) + h * STRIDE(4, 2);
            if (mirrored) line(&l, bytes, 1);
            else line(&l, bytes, 0);
        }
    }
}

/* a: images (N, C, H, W), numbers int64 (n) and keys (n) of the samples, mean (C, H, W) with neighbouring columns,
 * out (n, C, h, w); i: whether to mirror by a coin, whether to crop by a draw, else at this row and column, seed; f: scale.
 * The images are bytes or floats. */
static void pictures_bytes(const brew_op *op) { write_pictures(op, 1); }
static void pictures_floats(const brew_op *op) { write_pictures(op, 0); }

/* a: labels of all samples, numbers int64 (n), labels (n). */
static void take_labels(const brew_op *op) {
    const int64_t *numbers = op->a[1].data;
    for (int64_t n = 0; n < SIZE(1, 0); n++) F(2)[n] = F(0)[numbers[n]];
}
