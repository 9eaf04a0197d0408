#include "agent/guest/vm_call_libvirt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include <libvirt/virterror.h>

#include "base/log.h"

int vm_call_failed(struct err *err, const char *what)
{
    return err_set(err, -EIO, "libvirt cannot %s: %s", what, virGetLastErrorMessage());
}

pid_t vm_call_fork(void)
{
    pid_t pid = fork();
    sigset_t none;

    if (pid != 0)
        return pid;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    return 0;
}

int vm_call_begin(struct vm_call *call, const char *name, struct err *err)
{
    *call = (struct vm_call){.connection = virConnectOpen(VM_LOCAL_URI)};
    if (call->connection == NULL)
        return vm_call_failed(err, "be reached");
    if (name == NULL)
        return 0;
    call->domain = virDomainLookupByName(call->connection, name);
    return call->domain != NULL ? 0 : vm_call_failed(err, "find the guest");
}

void vm_call_end(struct vm_call *call)
{
    if (call->domain != NULL)
        virDomainFree(call->domain);
    if (call->connection != NULL)
        virConnectClose(call->connection);
    *call = (struct vm_call){0};
}

void vm_call_power_button(const char *guest)
{
    struct vm_call call;
    struct err err = {0};
    int rc = vm_call_begin(&call, guest, &err);

    if (rc == 0 && virDomainShutdownFlags(call.domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) < 0)
        rc = vm_call_failed(&err, "press its power button");
    if (rc < 0)
        log_warn("guest %s: %s", guest, err.text);
    vm_call_end(&call);
}

static void *hear(void *unused)
{
    (void)unused;
    for (;;)
        virEventRunDefaultImpl();
    return NULL;
}

int vm_call_hear_events(struct err *err)
{
    pthread_t thread;

    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0 ||
        pthread_create(&thread, NULL, hear, NULL) != 0)
        return err_set(err, -ENOMEM, "no thread for the events of libvirt");
    pthread_detach(thread);
    return 0;
}
