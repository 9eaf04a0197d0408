/* image_oci_jansson_sodium: reads an OCI image layout directory (OCI image specification 1.1,
 * image-layout.md): index.json -> manifest -> config and layers, each blob checked by its digest.
 */
#ifndef SKEIN_AGENT_CLI_IMAGE_OCI_JANSSON_SODIUM_H
#define SKEIN_AGENT_CLI_IMAGE_OCI_JANSSON_SODIUM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/cli/oci_merge.h"
#include "base/err.h"

struct oci_image {
    uint32_t n_layers;
    int layers[OCI_LAYERS_MAX]; /* from the lowest up, their digests checked */
    json_t *config;             /* the "config" object; NULL: there is none */
};

/* Is this the directory of an OCI layout? */
bool oci_is_layout(const char *directory);

/* The image of the layout for this machine's architecture, `tag` (its name in the layout; NULL: the
 * only one). 0; -EBADMSG with words that name the blob and what is wrong with it; -ENOENT for a tag
 * that is not there; -errno. The caller ends it with oci_image_close. */
int oci_image_open(const char *directory, const char *tag, struct oci_image *ret, struct err *err);
void oci_image_close(struct oci_image *image);

#endif
