#!/bin/sh
# embed.sh PROGRAM OUTPUT SYMBOL: an assembler file that holds the bytes of PROGRAM from SYMBOL to SYMBOL_end.
cat >"$2" <<S
    .section .rodata
    .global $3, ${3}_end
    .balign 16
$3:
    .incbin "$(readlink -f "$1")"
${3}_end:
    .section .note.GNU-stack, "", %progbits
S
