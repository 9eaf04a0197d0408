#include "migrate/mode.h"

#include "migrate/ahead.h"

/* What it comes to, and what each way would take. */
struct weighed {
    const struct mode_wish *wish;
    const struct look *look;
    uint64_t kbps;                     /* of the copy */
    uint64_t ahead_bytes, still_bytes; /* of files: while it runs, and stands still */
    uint64_t stop_ms, pre_ms, post_ms; /* of standing still */
    uint32_t rounds;
    bool can_pre, can_post;
};

uint32_t mode_link_kbps(const struct mode_wish *wish)
{
    uint32_t kbps = wish->copy_kbps != 0 ? wish->copy_kbps : MODE_COPY_KBPS;

    if (wish->link_kbps != 0 && wish->link_kbps < kbps)
        kbps = wish->link_kbps;
    if (wish->terms.bandwidth_kbps != 0 && wish->terms.bandwidth_kbps < kbps)
        kbps = wish->terms.bandwidth_kbps;
    return kbps;
}

uint32_t mode_expected_ms(const struct mode_wish *wish, uint64_t memory_bytes)
{
    if (wish->terms.mode == MOVE_POST)
        return MODE_BASE_MS + MODE_POST_MS;
    if (wish->terms.mode == MOVE_STOP)
        return MODE_BASE_MS + (uint32_t)(memory_bytes * 8 / mode_link_kbps(wish));
    return 0;
}

static uint64_t copy_ms(const struct weighed *w, uint64_t bytes)
{
    return bytes * 8 / w->kbps;
}

/* Rounds until what is left fits into the downtime, or does not get less any more. */
static void weigh_pre(struct weighed *w)
{
    const struct look *look = w->look;
    uint64_t rest = look->memory_bytes, still_ms = MODE_BASE_MS + copy_ms(w, w->still_bytes);

    w->rounds = 0;
    do {
        uint64_t next = look->dirty_bytes_per_s * copy_ms(w, rest) / 1000;

        w->rounds++;
        if (next * 100 >= rest * MODE_CONVERGE_PERCENT)
            break;
        rest = next;
    } while (still_ms + copy_ms(w, rest) > w->wish->terms.downtime_ms &&
             w->rounds < MODE_MAX_ROUNDS);
    w->pre_ms = still_ms + copy_ms(w, rest);
}

/* What changes meanwhile is not known. */
static void weigh_files(struct weighed *w)
{
    const struct ahead_size size = {w->look->ahead_bytes, w->look->n_ahead};

    w->ahead_bytes = ahead_is_worth(&size, w->kbps) ? size.bytes : 0;
    w->still_bytes = w->look->files_bytes - w->ahead_bytes;
}

static void weigh(const struct mode_wish *wish, const struct look *look, struct weighed *ret)
{
    bool is_asked = wish->terms.mode == MOVE_POST;

    *ret = (struct weighed){.wish = wish, .look = look, .kbps = mode_link_kbps(wish)};
    weigh_files(ret);
    ret->stop_ms = MODE_BASE_MS + copy_ms(ret, look->memory_bytes + ret->still_bytes);
    ret->post_ms = MODE_BASE_MS + MODE_POST_MS + copy_ms(ret, ret->still_bytes);
    ret->can_pre = look->can_pre;
    ret->can_post = look->can_lazy && wish->target_can_lazy && (wish->allows_post || is_asked);
    weigh_pre(ret);
}

static enum move_mode pick(const struct weighed *w)
{
    uint64_t downtime_ms = w->wish->terms.downtime_ms;

    if (w->stop_ms <= downtime_ms)
        return MOVE_STOP;
    if (w->can_pre && w->pre_ms <= downtime_ms)
        return MOVE_PRE;
    if (w->can_post && w->post_ms * MODE_POST_GAIN <= w->stop_ms)
        return MOVE_POST;
    return w->can_pre && w->pre_ms < w->stop_ms ? MOVE_PRE : MOVE_STOP;
}

static bool can(const struct weighed *w, enum move_mode mode)
{
    return mode == MOVE_PRE ? w->can_pre : mode == MOVE_POST ? w->can_post : true;
}

static uint64_t still_ms(const struct weighed *w, enum move_mode mode)
{
    return mode == MOVE_PRE ? w->pre_ms : mode == MOVE_POST ? w->post_ms : w->stop_ms;
}

/* ---- the reasons */

static void say_why_not_pre(const struct weighed *w, struct look *look)
{
    if (!w->can_pre)
        look_add(look, "no-pre-copy", false, "pre-copy: %s",
                 look->can_track_dirty ? "not with this mover"
                                       : "this kernel does not say which pages were written");
    else if (w->pre_ms > w->wish->terms.downtime_ms)
        look_add(
            look, "no-convergence", false,
            "pre-copy: it writes %llu KiB/s, %llu KiB/s cross: the last round would take %llu ms",
            (unsigned long long)look->dirty_bytes_per_s / 1024, (unsigned long long)w->kbps / 8,
            (unsigned long long)w->pre_ms);
}

static void say_why_not_post(const struct weighed *w, struct look *look)
{
    if (!w->look->can_lazy || !w->wish->target_can_lazy)
        look_add(look, "no-post-copy", false, "post-copy: the %s cannot let memory come later",
                 w->look->can_lazy ? "target" : "source");
    else if (!w->can_post)
        look_add(look, "no-post-copy", false,
                 "post-copy: it would not come back from a loss meanwhile (restart: never)");
    else if (w->wish->terms.mode == MOVE_AUTO)
        look_add(look, "no-post-copy", false, "post-copy: %llu ms, which is not worth its risk",
                 (unsigned long long)w->post_ms);
}

static void say(const struct weighed *w, const struct mode_verdict *verdict, struct look *look)
{
    uint32_t downtime_ms = w->wish->terms.downtime_ms;

    if (w->wish->link_kbps == 0 && w->wish->terms.bandwidth_kbps == 0)
        look_add(look, "rate-unknown", false,
                 "the rate of its link is not known: %llu Mbit/s assumed",
                 (unsigned long long)w->kbps / 1000);
    if (w->ahead_bytes != 0)
        look_add(look, "files-ahead", false,
                 "%llu MiB of its files are copied while it runs, in about %llu ms",
                 (unsigned long long)w->ahead_bytes >> 20,
                 (unsigned long long)copy_ms(w, w->ahead_bytes));
    if (verdict->mode != MOVE_STOP && w->stop_ms > downtime_ms)
        look_add(look, "stop-too-long", false,
                 "stop-and-copy: %llu ms for %llu MiB, more than the %u ms that it may stand still",
                 (unsigned long long)w->stop_ms,
                 (unsigned long long)(look->memory_bytes + w->still_bytes) >> 20, downtime_ms);
    if (verdict->mode == MOVE_POST || (verdict->mode == MOVE_STOP && w->stop_ms > downtime_ms))
        say_why_not_pre(w, look);
    if (verdict->mode != MOVE_POST && still_ms(w, verdict->mode) > downtime_ms)
        say_why_not_post(w, look);
    if (verdict->blackout_ms > downtime_ms)
        look_add(look, "downtime", false, "it will stand still for about %u ms: more than %u ms",
                 verdict->blackout_ms, downtime_ms);
    if (verdict->mode == MOVE_POST)
        look_add(look, "handover", false,
                 "until its memory has followed (about %u ms) it is lost if either node is",
                 verdict->total_ms - verdict->blackout_ms - (uint32_t)copy_ms(w, w->ahead_bytes));
}

void mode_pick(const struct mode_wish *wish, struct look *look, struct mode_verdict *ret)
{
    enum move_mode asked = wish->terms.mode;
    struct weighed w;

    weigh(wish, look, &w);
    *ret = (struct mode_verdict){.mode = asked == MOVE_AUTO ? pick(&w) : asked};
    if (!can(&w, ret->mode)) {
        look_add(look, "mode", true, "it cannot move by %s-copy: %s", move_mode_name(asked),
                 asked == MOVE_POST      ? "its memory cannot come later on the way"
                 : look->can_track_dirty ? "this mover does not"
                                         : "this kernel does not say which pages were written");
        ret->mode = 0;
        return;
    }
    ret->blackout_ms = (uint32_t)still_ms(&w, ret->mode);
    ret->rounds = ret->mode == MOVE_PRE ? w.rounds : 0;
    ret->total_ms = ret->mode == MOVE_STOP
                        ? ret->blackout_ms
                        : ret->blackout_ms + (uint32_t)copy_ms(&w, look->memory_bytes);
    ret->total_ms += (uint32_t)copy_ms(&w, w.ahead_bytes);
    ret->ahead_bytes = w.ahead_bytes;
    say(&w, ret, look);
}

uint32_t mode_measure(uint32_t kbps, uint64_t bytes, uint64_t us)
{
    uint64_t now;

    if (bytes < (uint64_t)MODE_MEASURED_MIB << 20 || us == 0)
        return kbps;
    now = bytes * 8000 / us;
    now = now > UINT32_MAX ? UINT32_MAX : now == 0 ? 1 : now;
    return kbps == 0 ? (uint32_t)now : (uint32_t)((kbps + now) / 2);
}

void mode_begin_live(struct mode_wish *wish)
{
    wish->allows_post = wish->allows_post && wish->terms.mode == MOVE_AUTO;
    if (wish->terms.mode == MOVE_AUTO)
        wish->terms.mode = MOVE_PRE;
}

uint32_t mode_post_after(const struct mode_wish *wish)
{
    if (wish->terms.mode == MOVE_POST)
        return 1;
    return wish->terms.mode == MOVE_PRE && wish->allows_post && wish->target_can_lazy
               ? MODE_MAX_ROUNDS
               : 0;
}

uint32_t mode_last_round_ms(const struct mode_wish *wish)
{
    uint32_t downtime_ms = wish->terms.downtime_ms;

    if (downtime_ms >= 2 * MODE_LIVE_MS)
        return downtime_ms - MODE_LIVE_MS;
    return downtime_ms > 1 ? downtime_ms / 2 : 1;
}

void mode_round_over(struct mode_rounds *rounds, uint64_t bytes, uint64_t us, uint64_t left_bytes)
{
    uint64_t kbps = bytes * 8000 / (us != 0 ? us : 1);

    rounds->n++;
    rounds->bytes = bytes;
    rounds->left_bytes = left_bytes;
    rounds->all_bytes += bytes;
    rounds->all_us += us;
    if (kbps > rounds->kbps)
        rounds->kbps = kbps;
}

uint32_t mode_rounds_expected_ms(const struct mode_rounds *rounds, enum mode_next next)
{
    if (next == MODE_FOLLOW)
        return MODE_BASE_MS + MODE_POST_MS;
    return rounds->kbps == 0
               ? 0
               : MODE_BASE_MS + (uint32_t)(rounds->left_bytes * 8 / rounds->kbps);
}

/* Is there room and time for another, and would less be left after it? */
static bool is_worth_a_round(const struct mode_rounds *rounds, uint64_t memory_bytes)
{
    uint64_t most = memory_bytes * MODE_ROUNDS_FACTOR;

    if (most < (uint64_t)MODE_ROUNDS_MIN_MIB << 20)
        most = (uint64_t)MODE_ROUNDS_MIN_MIB << 20;
    return rounds->n < MODE_MAX_ROUNDS && rounds->all_us < MODE_ROUNDS_MS * 1000ull &&
           rounds->all_bytes + rounds->left_bytes <= most &&
           rounds->left_bytes * 100 < rounds->bytes * MODE_CONVERGE_PERCENT;
}

enum mode_next mode_next(const struct mode_rounds *rounds, uint64_t memory_bytes,
                         uint32_t last_round_ms, uint32_t post_after)
{
    if (rounds->left_bytes * 8 <= rounds->kbps * last_round_ms)
        return MODE_HALT;
    if (is_worth_a_round(rounds, memory_bytes))
        return MODE_AGAIN;
    return post_after != 0 ? MODE_FOLLOW : MODE_HALT;
}

void mode_wish_encode(const struct mode_wish *wish, struct writer *w)
{
    move_terms_encode(&wish->terms, w);
    write_u32(w, wish->link_kbps);
    write_u32(w, wish->copy_kbps);
    write_bool(w, wish->target_can_lazy);
    write_bool(w, wish->allows_post);
    write_string(w, wish->target);
    room_encode(&wish->room, w);
}

void mode_wish_decode(struct reader *r, struct mode_wish *ret)
{
    move_terms_decode(r, &ret->terms);
    ret->link_kbps = read_u32(r);
    ret->copy_kbps = read_u32(r);
    ret->target_can_lazy = read_bool(r);
    ret->allows_post = read_bool(r);
    read_string(r, ret->target, sizeof(ret->target));
    room_decode(r, &ret->room);
}
