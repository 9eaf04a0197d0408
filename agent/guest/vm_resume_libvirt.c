/* vm_resume: what a move stopped goes on, after an abort; see vm_move_libvirt.h. */
#include <stdio.h>
#include <time.h>

#include "agent/guest/vm_call_libvirt.h"
#include "agent/guest/vm_move_libvirt.h"

enum {
    STEP_MS = 20, /* while libvirtd notices that who asked for the move is gone: it refuses */
    LIMIT_MS = 15000,
};

static bool runs(const struct vm_call *call)
{
    int state = 0;

    return virDomainGetState(call->domain, &state, NULL, 0) == 0 && state == VIR_DOMAIN_RUNNING;
}

int vm_move_resume(const char *guest, int control)
{
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    struct vm_reply reply = {.answer = VM_ANSWER_DONE};
    struct vm_call call;
    struct err err = {0};
    int rc = vm_call_begin(&call, guest, &err);

    for (int waited = 0; rc == 0 && !runs(&call) && virDomainResume(call.domain) < 0;
         waited += STEP_MS) {
        if (waited >= LIMIT_MS)
            rc = vm_call_failed(&err, "let it go on");
        nanosleep(&step, NULL);
    }
    vm_call_end(&call);
    if (rc < 0) {
        reply.answer = VM_ANSWER_FAILED;
        snprintf(reply.text, sizeof(reply.text), "%s", err.text);
    }
    return vm_control_answer(control, &reply) < 0 || rc < 0;
}
