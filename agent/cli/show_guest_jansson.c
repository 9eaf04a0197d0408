#include "agent/cli/show_guest_jansson.h"

#include <stdio.h>
#include <string.h>

/* What does not fit is cut. */
static void add(char *text, size_t size, const char *between, const char *word)
{
    size_t used = strlen(text);

    snprintf(text + used, size - used, "%s%s", used > 0 ? between : "", word);
}

void guest_volumes_format(const json_t *volumes, char *ret, size_t size)
{
    json_t *volume;
    size_t i;

    ret[0] = '\0';
    json_array_foreach(volumes, i, volume)
    {
        const char *node = json_string_value(json_object_get(volume, "node"));

        add(ret, size, "; ", json_string_value(json_object_get(volume, "name")));
        add(ret, size, " at ", json_string_value(json_object_get(volume, "path")));
        if (node != NULL)
            add(ret, size, " on ", node);
    }
}

void guest_losses_format(const json_t *losses, char *ret, size_t size)
{
    const char *event;
    json_t *list, *loss;
    size_t i;

    ret[0] = '\0';
    json_object_foreach((json_t *)losses, event, list)
    {
        if (json_is_null(list))
            continue;
        add(ret, size, "; ", event);
        if (json_array_size(list) == 0)
            add(ret, size, ": ", "nothing");
        json_array_foreach(list, i, loss)
            add(ret, size, i == 0 ? ": " : ", ", json_string_value(loss));
    }
}
