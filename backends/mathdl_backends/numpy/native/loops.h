/* Calls of NumPy's own inner loops, and what moves numbers without looking at them. Included by steps.c. */

/* One call for the rows of a piece: arg 0, 1 … are the operands and, last, the result. */
static void loop(const Op *op, const Place *at) {
    const Loop *l = op->loop;
    char *args[3];
    intptr_t n = at->columns;
    int64_t rows = at->rows;
    int one_run = 1; /* whether the rows lie behind one another, for all args */
    for (int k = 0; k < l->args; k++) {
        args[k] = l->base[k] + at->row * l->down[k] + at->column * l->right[k];
        one_run = one_run && l->down[k] == at->columns * l->right[k];
    }
    intptr_t steps[3] = {l->right[0], l->right[1], l->right[2]};
    if (n == 1) for (int k = 0; k < l->args; k++) steps[k] = l->down[k];
    if (one_run || n == 1) n *= rows, rows = 1;
    for (int64_t i = 0; i < rows; i++) {
        char *now[3] = {args[0], args[1], args[2]};
        l->function(now, &n, steps, l->data);
        for (int k = 0; k < l->args; k++) args[k] += l->down[k];
    }
}

/* Each number of the result ← its terms, as NumPy's reductions take them: arg 0 is the result, arg 1 the terms. */
static void reduce(const Op *op, const Place *at) {
    const Loop *l = op->loop;
    for (int64_t i = at->row; i < at->row + at->rows; i++) {
        char *into = l->base[0] + i * l->down[0] + at->column * l->right[0];
        char *term = l->base[1] + i * l->down[1] + at->column * l->right[1];
        intptr_t terms = l->terms, n = at->columns;
        if (l->copies_first) {
            for (intptr_t j = 0; j < n; j++) memcpy(into + j * l->right[0], term + j * l->right[1], (size_t)l->size);
            term += l->next, terms--;
        } else {
            for (intptr_t j = 0; j < n; j++) memset(into + j * l->right[0], 0, (size_t)l->size);
        }
        if (op->inner == 1) { /* terms that lie behind one another are added in pairs, and so on */
            char *args[3] = {into, term, into};
            const intptr_t steps[3] = {0, l->next, 0};
            l->function(args, &terms, steps, l->data);
        } else {
            const intptr_t steps[3] = {l->right[0], l->right[1], l->right[0]};
            for (; terms > 0; terms--, term += l->next) {
                char *args[3] = {into, term, into};
                l->function(args, &n, steps, l->data);
            }
        }
    }
}

/* c ← a along five axes, some rows of the first. Unsigned integers may become wider or narrower (their low bytes come
 * first; programs are compiled for no machine where they do not). */
static void copy_axes(const Op *op, const Place *at) {
    const Axes *x = op->axes;
    const int64_t size = x->into_size, same = MIN(size, x->from_size), n = x->count[4], from_step = x->from[4], into_step = x->into[4];
    for (int64_t i = at->row; i < at->row + at->rows; i++)
        for (int64_t j = 0; j < x->count[1]; j++) for (int64_t k = 0; k < x->count[2]; k++) for (int64_t m = 0; m < x->count[3]; m++) {
            const char *from = op->a + i * x->from[0] + j * x->from[1] + k * x->from[2] + m * x->from[3];
            char *into = op->c + i * x->into[0] + j * x->into[1] + k * x->into[2] + m * x->into[3];
            if (from_step == size && into_step == size && same == x->from_size) memcpy(into, from, (size_t)(n * size));
            else for (int64_t q = 0; q < n; q++, from += from_step, into += into_step) {
                if (same == 4) memcpy(into, from, 4);
                else memcpy(into, from, (size_t)same);
                if (size > same) memset(into + same, 0, (size_t)(size - same));
            }
        }
}
