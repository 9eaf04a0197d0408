/* skeind: the daemon: settings, privileges, and the loop that everything else hangs on. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api/api_jansson.h"
#include "agent/api/server_czmq.h"
#include "agent/skeind/privileges_linux.h"
#include "agent/skeind/pump_czmq_uv.h"
#include "agent/skeind/skeind_uv.h"
#include "agent/streams/checkpoints_uv.h"
#include "base/log.h"

static void on_signal(uv_signal_t *signal, int number)
{
    struct skeind *s = signal->data;

    log_info("ends on signal %d", number);
    skeind_stop(s, 0);
}

static int watch_signal(struct skeind *s, uv_signal_t *handle, int number)
{
    handle->data = s;
    uv_signal_init(s->loop, handle);
    return uv_signal_start(handle, on_signal, number);
}

static void on_client(void *context, const struct envelope *message)
{
    struct skeind *s = context;

    api_receive(s->api, message);
}

static int open_api(struct skeind *s, struct err *err)
{
    char path[CONFIG_PATH_SIZE + 16];
    struct api_server_config config = {
        .pump = s->pump, .path = path, .context = s, .on_message = on_client};

    snprintf(path, sizeof(path), "%s/api.sock", s->config.run_dir);
    return api_server_open(&config, &s->server, err);
}

/* Everything that needs no cluster. */
static int start(struct skeind *s, struct err *err)
{
    char images[CONFIG_PATH_SIZE + 16], checkpoints[CONFIG_PATH_SIZE + 16];
    int rc;

    snprintf(images, sizeof(images), "%s/images", s->config.data_dir);
    snprintf(checkpoints, sizeof(checkpoints), "%s/checkpoints", s->config.data_dir);
    s->pump = pump_new(s->loop);
    s->api = api_new(s);
    if (s->pump == NULL || s->api == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    skeind_timers_start(s);
    watch_signal(s, &s->term, SIGTERM);
    watch_signal(s, &s->interrupt, SIGINT);
    rc = image_store_open(images, &s->store, err);
    if (rc == 0)
        rc = checkpoints_new(s->loop, checkpoints, (uint64_t)s->config.checkpoint_limit_mib << 20,
                             &s->checkpoints, err);
    if (rc == 0)
        rc = skeind_guard_start(s, err);
    if (rc == 0)
        rc = skeind_cluster_load(s, err);
    if (rc == 0)
        rc = skeind_guard_claim(s, err);
    if (rc == 0)
        rc = open_api(s, err);
    if (rc == 0 && !s->is_member)
        log_info("not initialised%s%s: waits for skein init or skein join",
                 s->reason[0] != '\0' ? ": " : "", s->reason);
    return rc;
}

static void stop(struct skeind *s)
{
    api_end(s->api);
    api_server_close(s->server);
    skeind_cluster_stop(s);
    api_free(s->api);
    image_store_close(s->store);
    core_free(s->core);
    core_actions_deinit(&s->actions);
    members_deinit(&s->members);
    identity_deinit(&s->identity);
}

int main(int argc, char *argv[])
{
    static struct skeind s;
    struct err err = {0};

    log_setup("skeind", LOG_LEVEL_INFO);
    if (config_load(&s.config, argc, argv, &err) < 0) {
        log_error("%s", err.text);
        return SKEIND_EXIT_USAGE;
    }
    log_setup("skeind", (enum log_level)s.config.log_level);
    signal(SIGPIPE, SIG_IGN);
    machine_try(&s.machine);
    if (privileges_prepare(&s.config, &err) < 0 || skeind_guard_take_key(&s, &err) < 0 ||
        privileges_drop(&s.config, &err) < 0) {
        log_error("%s", err.text);
        return 1;
    }
    s.loop = uv_default_loop();
    if (start(&s, &err) < 0) {
        log_error("%s", err.text);
        return s.exit_code != 0 ? s.exit_code : 1;
    }
    uv_run(s.loop, UV_RUN_DEFAULT);
    stop(&s);
    return s.exit_code;
}
