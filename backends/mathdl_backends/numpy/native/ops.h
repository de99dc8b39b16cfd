/* One op on one rectangle of its result, for numbers of type T. Included by steps.c, once for float and once for double. */

static void NAME(product)(const Op *op, const Place *at, T *c, int64_t c_down, const Blas *blas) {
    const T *a = (const T *)op->a + (op->a_right ? at->row : at->row * op->a_down);
    const T *b = (const T *)op->b + (op->b_right ? at->column * op->b_down : at->column);
    blas->NAME(gemm)(ROW_MAJOR, op->a_right ? TRANSPOSED : PLAIN, op->b_right ? TRANSPOSED : PLAIN, at->rows, at->columns,
                     op->inner, 1, a, op->a_down, b, op->b_down, 0, c, c_down);
}

/* b holds the rows to take, as 64-bit integers. */
static void NAME(take_rows)(const Op *op, const Place *at, T *c, int64_t c_down) {
    const int64_t *indices = (const int64_t *)op->b + at->row;
    for (int64_t i = 0; i < at->rows; i++, c += c_down) {
        const int64_t row = indices[i] < 0 ? indices[i] + op->inner : indices[i];
        if (row < 0 || row >= op->inner) outside = 1;
        else memcpy(c, (const T *)op->a + row * op->a_down + at->column, (size_t)at->columns * sizeof(T));
    }
}

/* The first of the largest numbers of each row; a NaN is the largest. */
static void NAME(argmax)(const Op *op, const Place *at) {
    int64_t *c = (int64_t *)op->c + at->column;
    for (int64_t i = 0; i < at->columns; i++) {
        const T *row = (const T *)op->a + (at->column + i) * op->inner;
        int64_t best = 0;
        for (int64_t j = 1; j < op->inner && row[best] == row[best]; j++) if (!(row[j] <= row[best])) best = j;
        c[i] = best;
    }
}

FOR_EACH_PROCESSOR static void NAME(elementwise)(
    int64_t kind, int64_t rows, int64_t columns, const T *a, int64_t a_down, int64_t a_right, const T *b, int64_t b_down,
    int64_t b_right, T *c, int64_t c_down) {
    if (a_down == columns && c_down == columns && a_right && (b_down == columns || (b_down == 0 && !b_right))) {
        columns *= rows; /* one run of numbers */
        rows = 1;
    }
    switch (kind) {
    case COPY: ROWS({ memmove(c, a, (size_t)columns * sizeof(T)); }) return;
    case ADD: BINARY(+);
    case SUBTRACT: BINARY(-);
    case MULTIPLY: BINARY(*);
    case DIVIDE: BINARY(/);
    case SQRT: ROWS({ for (int64_t j = 0; j < columns; j++) c[j] = SQUARE_ROOT(a[j]); }) return;
    case RELU: /* NaN stays NaN */
        ROWS({ for (int64_t j = 0; j < columns; j++) c[j] = a[j] <= 0 ? 0 : a[j]; }) return;
    case RELU_BACKWARD:
        ROWS({ for (int64_t j = 0; j < columns; j++) c[j] = a[j] * (b[j] > 0 ? (T)1 : (T)0); }) return;
    }
}

static void NAME(op)(const Op *op, const Piece *p, const Blas *blas, char *scratch) {
    Place at = {p->row, p->column, p->row_end - p->row, p->column_end - p->column};
    if (op->width != p->width) { /* the same run of numbers in rows of another width */
        const int64_t start = p->row * p->width + p->column, count = at.rows * at.columns;
        at = (Place){start / op->width, 0, count / op->width, op->width};
    }
    const int64_t c_down = op->locals & LOCAL_C ? at.columns : op->c_down;
    T *c = op->locals & LOCAL_C ? (T *)(scratch + (intptr_t)op->c) : (T *)op->c + at.row * c_down + at.column;
    T *P = (T *)(scratch + op->work);
    switch (op->kind) {
    case PRODUCT: NAME(product)(op, &at, c, c_down, blas); return;
    case TAKE_ROWS: NAME(take_rows)(op, &at, c, c_down); return;
    case CONVOLVE: NAME(convolve)(op, at.row, at.row + at.rows, c, P, blas); return;
    case CONVOLVE_DW: for (int64_t i = 0; i < at.rows; i++) NAME(convolve_dW)(op, at.row + i, c + i * c_down, P, blas); return;
    case CONVOLVE_DA: for (int64_t i = 0; i < at.rows; i++) NAME(convolve_dA)(op, at.row + i, c + i * c_down, P, blas); return;
    case LOOP: loop(op, &at); return;
    case REDUCE: reduce(op, &at); return;
    case COPY_AXES: copy_axes(op, &at); return;
    case RANDOM_WORDS: words_of((const uint32_t *)op->a, op->inner, &at, (uint32_t *)c, c_down); return;
    case ARGMAX: NAME(argmax)(op, &at); return;
    case FROM_BOOL:
        for (int64_t j = 0; j < at.columns; j++) c[j] = ((const unsigned char *)op->a)[at.column + j] ? (T)1 : (T)0;
        return;
    case PUT_ROW: /* b holds the number of the row */
        memcpy((T *)op->c + *(const int64_t *)op->b * op->width, op->a, (size_t)op->width * sizeof(T));
        return;
    case MAX_LINE: NAME(max_line)(op, at.row, at.row + at.rows, c); return;
    case MAX_LINE_BACKWARD: NAME(max_line_backward)(op, at.row, at.row + at.rows, c); return;
    }
    const int64_t a_down = op->locals & LOCAL_A ? at.columns : op->a_down;
    const int64_t b_down = op->locals & LOCAL_B ? at.columns : op->b_down;
    const T *a = op->locals & LOCAL_A ? (T *)(scratch + (intptr_t)op->a) : (T *)op->a + at.row * a_down + at.column * op->a_right;
    const T *b = op->locals & LOCAL_B ? (T *)(scratch + (intptr_t)op->b) : (T *)op->b + at.row * b_down + at.column * op->b_right;
    switch (op->kind) {
    case ROW_PRODUCT: /* a is one row: ones, for a sum of rows */
        blas->NAME(gemv)(ROW_MAJOR, TRANSPOSED, op->inner, at.columns, 1, (T *)op->b + at.column, op->b_down, (T *)op->a, 1, 0, c, 1);
        return;
    case SUM_PIECES: /* b holds ones; the rows of this piece, to the row of c that goes with it */
        blas->NAME(gemv)(ROW_MAJOR, TRANSPOSED, at.rows, at.columns, 1, a, a_down, (T *)op->b, 1, 0,
                         (T *)op->c + at.row / op->inner * op->width, 1);
        return;
    }
    NAME(elementwise)(op->kind, at.rows, at.columns, a, a_down, op->a_right, b, b_down, op->b_right, c, c_down);
}
