/* vm_move_watch: the words by which a watcher of libvirt's events tells skein-vm what becomes of
 * the guest that comes in (vm_look_libvirt.c writes them, vm_incoming_posix.c reads them). */
#ifndef SKEIN_AGENT_GUEST_VM_MOVE_WATCH_H
#define SKEIN_AGENT_GUEST_VM_MOVE_WATCH_H

enum vm_watched {
    VM_WATCHING = 'w', /* the first: events are heard from now on */
    VM_RESUMED = 'r',  /* and all of it is here */
    VM_FOLLOWS = 'f',  /* it runs, its memory is on its way */
    VM_STOPPED = 's',
};

#endif
