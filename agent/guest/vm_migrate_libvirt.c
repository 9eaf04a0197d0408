#include "agent/guest/vm_migrate_libvirt.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/guest/vm_call_libvirt.h"
#include "agent/guest/vm_text.h"
#include "base/clean.h"

/* What libvirt is told, beside its flags. Nothing more is added after a failure. */
struct parameters {
    virTypedParameterPtr list;
    int n, max, rc;
};

static void add_text(struct parameters *p, const char *name, const char *value)
{
    if (p->rc == 0)
        p->rc = virTypedParamsAddString(&p->list, &p->n, &p->max, name, value);
}

static void add_door(struct parameters *p, const char *name, const char *path)
{
    char uri[128];

    snprintf(uri, sizeof(uri), "unix://%s", path);
    add_text(p, name, uri);
}

/* As libvirt counts: whole ones, and none means no limit. */
static void add_rate(struct parameters *p, const char *name, uint32_t kbps)
{
    unsigned long long bytes_per_s = kbps * 125ull;

    if (p->rc == 0)
        p->rc = virTypedParamsAddULLong(&p->list, &p->n, &p->max, name,
                                        bytes_per_s < 1048576 ? 1 : bytes_per_s / 1048576);
}

static void add_number(struct parameters *p, const char *name, uint32_t value)
{
    if (p->rc == 0)
        p->rc = virTypedParamsAddInt(&p->list, &p->n, &p->max, name, (int)value);
}

static int describe(virDomainPtr domain, const char *pins, char ret[VM_XML_SIZE], struct err *err)
{
    cleanup_free char *xml =
        virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_MIGRATABLE | VIR_DOMAIN_XML_SECURE);

    if (xml == NULL)
        return vm_call_failed(err, "describe it");
    return vm_repin_xml(xml, pins, ret, err);
}

static void add_all(struct parameters *p, const struct vm_move *asked, const char *xml)
{
    const struct vm_request *request = &asked->request;

    add_door(p, VIR_MIGRATE_PARAM_URI, asked->vm->memory);
    add_door(p, VIR_MIGRATE_PARAM_DISKS_URI, asked->vm->disks);
    add_text(p, VIR_MIGRATE_PARAM_DEST_XML, xml);
    if (request->rate_kbps != 0)
        add_rate(p, VIR_MIGRATE_PARAM_BANDWIDTH, request->rate_kbps);
    if (request->rate_kbps != 0 && request->post_after != 0)
        add_rate(p, VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY, request->rate_kbps);
    if (request->connections > 1)
        add_number(p, VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS, request->connections);
}

/* The disk is an overlay over the image, which is at the target too: only its content goes. */
static unsigned int flags_of(const struct vm_request *request)
{
    return VIR_MIGRATE_NON_SHARED_INC | (request->post_after != 0 ? VIR_MIGRATE_POSTCOPY : 0) |
           (request->connections > 1 ? VIR_MIGRATE_PARALLEL : 0) |
           (request->is_paused ? 0 : VIR_MIGRATE_LIVE | VIR_MIGRATE_AUTO_CONVERGE);
}

int vm_migrate(const struct vm_move *asked, virDomainPtr domain, virConnectPtr target,
               const char *pins, struct err *err)
{
    struct parameters p = {0};
    static char xml[VM_XML_SIZE];
    virDomainPtr moved = NULL;
    int rc = describe(domain, pins, xml, err);

    if (rc < 0)
        return rc;
    add_all(&p, asked, xml);
    if (p.rc < 0)
        rc = vm_call_failed(err, "be told how to move it");
    if (rc == 0)
        moved = virDomainMigrate3(domain, target, p.list, (unsigned)p.n, flags_of(&asked->request));
    if (rc == 0 && moved == NULL)
        rc = vm_call_failed(err, "move it");
    if (moved != NULL)
        virDomainFree(moved);
    virTypedParamsFree(p.list, p.n);
    return rc;
}
