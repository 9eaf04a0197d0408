/* deadline_code: see the header. The verifier refuses a program that reads beyond a packet, so all
 * of it is read by bpf_skb_load_bytes, which looks.
 */
#include "agent/guard/deadline_code_bpf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/limits.h"

enum { MAX_CODE = 80, FINAL_CODE = 4 };
/* Where a jump goes until finish() knows: to the code's end that passes, or drops. */
enum { TO_PASS = 0x7001, TO_DROP = 0x7002 };
/* Registers: 0 takes results, 1 to 5 arguments, 6 to 9 outlive calls, 10 is the stack's end. */
enum { CONTEXT = 9, UDP = 8, DEADLINE = 6, STACK = -16 };
/* Offsets in a frame, and in what lies behind the outer IP header. */
enum { AT_TYPE = 12, AT_IP = ETH_HLEN, UDP_PORT = 2, VXLAN_VNI = 8 + 4, INNER_SOURCE = 8 + 8 + 6 };

#define INSN(c, dst, src, o, i)                                                                    \
    {                                                                                              \
        .code = (c), .dst_reg = (dst), .src_reg = (src), .off = (o), .imm = (i)                    \
    }

#define MOVE(dst, src)                  INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define MATH(op, dst, number)           INSN(BPF_ALU64 | (op) | BPF_K, dst, 0, 0, number)
#define SET(dst, number)                MATH(BPF_MOV, dst, number)
#define READ(size, dst, src, offset)    INSN(BPF_LDX | (size) | BPF_MEM, dst, src, offset, 0)
#define ZERO(size, offset)              INSN(BPF_ST | (size) | BPF_MEM, 10, 0, offset, 0)
#define CALL(function)                  INSN(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define GOTO(to)                        INSN(BPF_JMP | BPF_JA, 0, 0, to, 0)
#define JUMP_IF(op, reg, number, to)    INSN(BPF_JMP | (op) | BPF_K, reg, 0, to, number)
#define JUMP_IF_REG(op, reg, other, to) INSN(BPF_JMP | (op) | BPF_X, reg, other, to, 0)
#define EXIT                            INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
/* Address of a map, or of the value of a map that has one. */
#define LOAD_MAP(what, dst, fd)                                                                    \
    INSN(BPF_LD | BPF_DW | BPF_IMM, dst, what, 0, fd), INSN(0, 0, 0, 0, 0)

/* r0 = now */
#define NOW_AND_DEADLINE(fd)                                                                       \
    LOAD_MAP(BPF_PSEUDO_MAP_VALUE, 1, fd), READ(BPF_DW, DEADLINE, 1, 0),                           \
        CALL(BPF_FUNC_ktime_get_boot_ns)
/* n bytes of the packet at r2 to the stack; r0 != 0: there are none */
#define LOAD_BYTES(n, to)                                                                          \
    MOVE(1, CONTEXT), MOVE(3, 10), MATH(BPF_ADD, 3, to), SET(4, n), CALL(BPF_FUNC_skb_load_bytes)
#define LOAD_BEHIND_IP(offset, n, to) MOVE(2, UDP), MATH(BPF_ADD, 2, offset), LOAD_BYTES(n, to)

struct code {
    struct bpf_insn insns[MAX_CODE];
    unsigned n;
};

static void append(struct code *c, const struct bpf_insn *insns, size_t size)
{
    memcpy(&c->insns[c->n], insns, size);
    c->n += (unsigned)(size / sizeof(*insns));
}

static void port_code(struct code *c, int deadline_fd)
{
    const struct bpf_insn insns[] = {
        NOW_AND_DEADLINE(deadline_fd),
        JUMP_IF_REG(BPF_JGT, 0, DEADLINE, TO_DROP),
        GOTO(TO_PASS),
    };

    append(c, insns, sizeof(insns));
}

/* Of a fragmented datagram the first part is dropped; nobody can use the others. */
static void uplink_code(struct code *c, int deadline_fd, int exempt_fd)
{
    const struct bpf_insn insns[] = {
        MOVE(CONTEXT, 1),
        NOW_AND_DEADLINE(deadline_fd),
        JUMP_IF_REG(BPF_JLE, 0, DEADLINE, TO_PASS),
        /* the type, and the IPv4 header up to the protocol */
        SET(2, AT_TYPE),
        LOAD_BYTES(12, STACK),
        JUMP_IF(BPF_JNE, 0, 0, TO_PASS),
        READ(BPF_H, 1, 10, STACK),
        JUMP_IF(BPF_JNE, 1, htons(ETH_P_IP), TO_PASS),
        READ(BPF_B, 1, 10, STACK + 11),
        JUMP_IF(BPF_JNE, 1, IPPROTO_UDP, TO_PASS),
        READ(BPF_H, 1, 10, STACK + 8),
        MATH(BPF_AND, 1, htons(0x1fff)),
        JUMP_IF(BPF_JNE, 1, 0, TO_PASS),
        /* behind the header and its options */
        READ(BPF_B, UDP, 10, STACK + 2),
        MATH(BPF_AND, UDP, 0xf),
        MATH(BPF_LSH, UDP, 2),
        MATH(BPF_ADD, UDP, AT_IP),
        LOAD_BEHIND_IP(UDP_PORT, 2, STACK),
        JUMP_IF(BPF_JNE, 0, 0, TO_PASS),
        READ(BPF_H, 1, 10, STACK),
        JUMP_IF(BPF_JNE, 1, htons(PORT_VXLAN), TO_PASS),
        /* struct deadline_exempt_key */
        ZERO(BPF_DW, STACK),
        ZERO(BPF_DW, STACK + 8),
        LOAD_BEHIND_IP(VXLAN_VNI, 3, STACK),
        JUMP_IF(BPF_JNE, 0, 0, TO_DROP),
        LOAD_BEHIND_IP(INNER_SOURCE, 6, STACK + 4),
        JUMP_IF(BPF_JNE, 0, 0, TO_DROP),
        LOAD_MAP(BPF_PSEUDO_MAP_FD, 1, exempt_fd),
        MOVE(2, 10),
        MATH(BPF_ADD, 2, STACK),
        CALL(BPF_FUNC_map_lookup_elem),
        JUMP_IF(BPF_JEQ, 0, 0, TO_DROP),
        GOTO(TO_PASS),
    };

    _Static_assert(sizeof(insns) / sizeof(insns[0]) + FINAL_CODE <= MAX_CODE, "it fits");
    append(c, insns, sizeof(insns));
}

/* The two ends of the code, and every jump to its own. */
static void finish(struct code *c, int pass, int drop)
{
    const struct bpf_insn ends[FINAL_CODE] = {SET(0, pass), EXIT, SET(0, drop), EXIT};
    unsigned end = c->n;

    append(c, ends, sizeof(ends));
    for (unsigned i = 0; i < end; i++) {
        if (c->insns[i].off == TO_PASS)
            c->insns[i].off = (short)(end - i - 1);
        else if (c->insns[i].off == TO_DROP)
            c->insns[i].off = (short)(end + 2 - i - 1);
    }
}

int bpf_call(enum bpf_cmd command, union bpf_attr *attr)
{
    long rc = syscall(SYS_bpf, command, attr, sizeof(*attr));

    return rc < 0 ? -errno : (int)rc;
}

static int load(const struct code *c, enum bpf_prog_type type, const char *name, struct err *err)
{
    union bpf_attr attr = {.prog_type = type,
                           .insns = (uintptr_t)c->insns,
                           .insn_cnt = c->n,
                           .license = (uintptr_t) "Apache-2.0"};
    int fd;

    strcpy(attr.prog_name, name);
    fd = bpf_call(BPF_PROG_LOAD, &attr);
    return fd < 0 ? err_set(err, fd, "the kernel takes no program '%s': %s", name, strerror(-fd))
                  : fd;
}

int deadline_code_load(enum deadline_code code, int deadline_fd, int exempt_fd, struct err *err)
{
    struct code c = {.n = 0};

    if (code == DEADLINE_PORT) {
        port_code(&c, deadline_fd);
        finish(&c, XDP_PASS, XDP_DROP);
        return load(&c, BPF_PROG_TYPE_XDP, "skein_port", err);
    }
    uplink_code(&c, deadline_fd, exempt_fd);
    finish(&c, TC_ACT_UNSPEC, TC_ACT_SHOT);
    return load(&c, BPF_PROG_TYPE_SCHED_CLS, "skein_uplink", err);
}
