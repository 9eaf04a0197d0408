#include "agent/guest/vm_xen_look_libvirt.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libvirt/libvirt.h>

#include "agent/guest/vm_call_libvirt.h"
#include "base/clean.h"

struct watch {
    const char *guest;
    int fd;
};

static int on_event(virConnectPtr connection, virDomainPtr domain, int event, int detail,
                    void *opaque)
{
    const struct watch *watch = opaque;
    bool is_own = detail == VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN;
    const char news = is_own ? VM_XEN_ENDED : VM_XEN_FAILED;

    (void)connection;
    if (event == VIR_DOMAIN_EVENT_STOPPED && strcmp(virDomainGetName(domain), watch->guest) == 0)
        (void)!write(watch->fd, &news, 1);
    return 0;
}

static void on_closed(virConnectPtr connection, int reason, void *opaque)
{
    const struct watch *watch = opaque;
    const char news = VM_XEN_FAILED;

    (void)connection, (void)reason;
    (void)!write(watch->fd, &news, 1);
}

int vm_xen_watch(const char *guest, int fd)
{
    struct watch watch = {guest, fd};
    struct pollfd end = {.fd = fd}; /* POLLERR: nobody reads any more */
    const char ready = VM_XEN_WATCHING;
    struct vm_call call;
    struct err err;

    if (vm_call_hear_events(&err) < 0 || vm_call_begin(&call, NULL, &err) < 0 ||
        virConnectDomainEventRegisterAny(call.connection, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_event), &watch, NULL) < 0 ||
        virConnectRegisterCloseCallback(call.connection, on_closed, &watch, NULL) < 0 ||
        write(fd, &ready, 1) != 1)
        return EXIT_FAILURE;
    while (poll(&end, 1, -1) <= 0)
        ;
    return EXIT_SUCCESS;
}

int vm_xen_create(const char *xml, char *ret_terminal, size_t size, struct err *err)
{
    struct vm_call call = {0};
    cleanup_free char *made = NULL;
    int rc = vm_call_begin(&call, NULL, err);

    if (rc == 0)
        call.domain = virDomainCreateXML(call.connection, xml, VIR_DOMAIN_START_PAUSED);
    if (rc == 0 && call.domain == NULL)
        rc = vm_call_failed(err, "start it");
    if (rc == 0 && (made = virDomainGetXMLDesc(call.domain, 0)) == NULL)
        rc = vm_call_failed(err, "describe it");
    if (rc == 0 && !vm_xen_terminal(made, ret_terminal, size))
        rc = err_set(err, -EIO, "libvirt does not say where its console is");
    vm_call_end(&call);
    return rc;
}

int vm_xen_shut_down(const char *guest, struct err *err)
{
    struct vm_call call;
    int rc = vm_call_begin(&call, guest, err);

    if (rc == 0 && virDomainShutdownFlags(call.domain, VIR_DOMAIN_SHUTDOWN_PARAVIRT) < 0)
        rc = vm_call_failed(err, "ask it to end");
    vm_call_end(&call);
    return rc;
}
