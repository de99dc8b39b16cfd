/* Sliding windows, for numbers of type T. Included by steps.c, once for float and once for double. */

/* What the window sees from the places first … end − 1, with zeros for padding: a row for each place, its taps after one
 * another; with few channels a column, for there runs of places are longer than runs of channels. */
static void NAME(gather)(const Window *w, const T *A, int64_t first, int64_t end, T *P) {
    const int64_t image = w->p * w->q * w->k, line = w->q * w->k, taps = w->g * w->k, places = end - first;
    int64_t b = first / (w->rows * w->columns), i = first / w->columns % w->rows, j = first % w->columns;
    if (w->few) {
        for (int64_t at = 0; at < places; ) { /* the places that are left of this row of places */
            const int64_t run = MIN(w->columns - j, places - at);
            T *column = P + at;
            for (int64_t y = 0; y < w->f; y++) for (int64_t x = 0; x < w->g; x++) for (int64_t c = 0; c < w->k; c++, column += places) {
                const int64_t u = i * w->s + y * w->d - w->top, v = j * w->t + x * w->e - w->left;
                int64_t from = 0, to = 0;
                if (u >= 0 && u < w->p && v < w->q) {
                    from = MIN(run, v < 0 ? (-v + w->t - 1) / w->t : 0);
                    to = MAX(from, MIN(run, (w->q - v + w->t - 1) / w->t));
                }
                const T *seen = A + b * image + u * line + v * w->k + c;
                for (int64_t r = 0; r < from; r++) column[r] = 0;
                if (w->t == 1 && w->k == 1 && to > from) memcpy(column + from, seen + from, (size_t)(to - from) * sizeof(T));
                else for (int64_t r = from; r < to; r++) column[r] = seen[r * w->t * w->k];
                for (int64_t r = to; r < run; r++) column[r] = 0;
            }
            at += run, j = 0;
            if (++i == w->rows) i = 0, b++;
        }
        return;
    }
    for (int64_t place = first; place < end; place++) {
        for (int64_t y = 0; y < w->f; y++, P += taps) {
            const int64_t u = i * w->s + y * w->d - w->top, v = j * w->t - w->left;
            const T *seen = A + b * image + u * line + v * w->k;
            if (u < 0 || u >= w->p) memset(P, 0, (size_t)taps * sizeof(T));
            else if (w->e == 1 && v >= 0 && v + w->g <= w->q) memcpy(P, seen, (size_t)taps * sizeof(T));
            else for (int64_t x = 0; x < w->g; x++) {
                const int64_t column = v + x * w->e;
                if (column < 0 || column >= w->q) memset(P + x * w->k, 0, (size_t)w->k * sizeof(T));
                else memcpy(P + x * w->k, seen + x * w->e * w->k, (size_t)w->k * sizeof(T));
            }
        }
        if (++j == w->columns) {
            j = 0;
            if (++i == w->rows) i = 0, b++;
        }
    }
}

/* The places first … end − 1 of a convolution of the images A with W (taps, n). */
static void NAME(convolve)(const Op *op, int64_t first, int64_t end, T *Z, T *P, const Blas *blas) {
    const Window *w = op->window;
    const int64_t taps = w->f * w->g * w->k, n = op->inner, places = end - first;
    NAME(gather)(w, (const T *)op->a, first, end, P);
    blas->NAME(gemm)(ROW_MAJOR, w->few ? TRANSPOSED : PLAIN, PLAIN, places, n, taps, 1, P, w->few ? places : taps,
                     (const T *)op->b, n, 0, Z, n);
}

/* One of the parts of a kernel's gradient: a sum over blocks of places, in their order. */
FOR_EACH_PROCESSOR static void NAME(convolve_dW)(const Op *op, int64_t part, T *sum, T *P, const Blas *blas) {
    const Window *w = op->window;
    const int64_t taps = w->f * w->g * w->k, n = op->inner, blocks = (w->places + w->block - 1) / w->block;
    T *term = P + taps * w->block;
    const int64_t begin = blocks * part / w->parts, end = blocks * (part + 1) / w->parts;
    for (int64_t block = begin; block < end; block++) {
        const int64_t first = block * w->block, last = MIN(first + w->block, w->places), places = last - first;
        NAME(gather)(w, (const T *)op->a, first, last, P);
        blas->NAME(gemm)(ROW_MAJOR, w->few ? PLAIN : TRANSPOSED, PLAIN, taps, n, places, 1, P, w->few ? places : taps,
                         (const T *)op->b + first * n, n, 0, block == begin ? sum : term, n);
        if (block > begin) for (int64_t j = 0; j < taps * n; j++) sum[j] += term[j];
    }
}

/* The input gradient of instance b: what each place sends back to what it saw, tap after tap. */
FOR_EACH_PROCESSOR static void NAME(convolve_dA)(const Op *op, int64_t b, T *dA, T *G, const Blas *blas) {
    const Window *w = op->window;
    const int64_t taps = w->f * w->g * w->k, n = op->inner, places = w->rows * w->columns;
    blas->NAME(gemm)(ROW_MAJOR, PLAIN, TRANSPOSED, places, taps, n, 1, (const T *)op->a + b * places * n, n,
                     (const T *)op->b, n, 0, G, taps);
    memset(dA, 0, (size_t)(w->p * w->q * w->k) * sizeof(T));
    for (int64_t y = 0; y < w->f; y++) for (int64_t x = 0; x < w->g; x++) {
        const T *sent = G + (y * w->g + x) * w->k;
        for (int64_t i = 0; i < w->rows; i++) for (int64_t j = 0; j < w->columns; j++, sent += taps) {
            const int64_t u = i * w->s + y * w->d - w->top, v = j * w->t + x * w->e - w->left;
            if (u < 0 || u >= w->p || v < 0 || v >= w->q) continue;
            T *into = dA + (u * w->q + v) * w->k;
            for (int64_t c = 0; c < w->k; c++) into[c] += sent[c];
        }
    }
}

/* The maximum over the windows along one axis, and for each tap but the first whether it beats those before it. */
FOR_EACH_PROCESSOR static void NAME(max_line)(const Op *op, int64_t from, int64_t to, T *Z) {
    const Line *l = op->line;
    const int64_t n = op->inner, of_a_tap = l->outer * l->places * n;
    for (int64_t o = from; o < to; o++) for (int64_t i = 0; i < l->places; i++, Z += n) {
        const T *A = (const T *)op->a + (o * l->elements + i * l->stride) * n;
        unsigned char *beats = (unsigned char *)op->b + (o * l->places + i) * n;
        if (l->taps == 2) { /* by far the most common, in one pass */
            for (int64_t c = 0; c < n; c++) beats[c] = A[n + c] > A[c];
            for (int64_t c = 0; c < n; c++) Z[c] = A[c] > A[n + c] || A[c] != A[c] ? A[c] : A[n + c];
            continue;
        }
        memcpy(Z, A, (size_t)n * sizeof(T));
        for (int64_t t = 1; t < l->taps; t++, beats += of_a_tap) {
            A += n;
            for (int64_t c = 0; c < n; c++) beats[c] = A[c] > Z[c];
            for (int64_t c = 0; c < n; c++) Z[c] = Z[c] > A[c] || Z[c] != Z[c] ? Z[c] : A[c];
        }
    }
}

/* dA where windows lie side by side: the last tap that beats those before it takes dZ, and leaves 0 to them. */
FOR_EACH_PROCESSOR static void NAME(max_line_backward)(const Op *op, int64_t from, int64_t to, T *dA) {
    const Line *l = op->line;
    const int64_t n = op->inner, of_a_tap = l->outer * l->places * n;
    for (int64_t o = from; o < to; o++) for (int64_t i = 0; i < l->places; i++, dA += l->taps * n) {
        const T *dZ = (const T *)op->a + (o * l->places + i) * n;
        memcpy(dA, dZ, (size_t)n * sizeof(T));
        for (int64_t t = l->taps - 1; t > 0; t--) {
            const unsigned char *beats = (const unsigned char *)op->b + (t - 1) * of_a_tap + (o * l->places + i) * n;
            T *won = dA + t * n;
            for (int64_t c = 0; c < n; c++) won[c] = dA[c] * (T)beats[c];
            for (int64_t c = 0; c < n; c++) dA[c] -= won[c];
        }
    }
}
