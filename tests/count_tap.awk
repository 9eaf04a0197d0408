# Counts the points of one TAP program: prints "passed failed skipped". Variable rc: its exit status. A missing or wrong
# plan, or a failing exit status without a failed point, counts as one failure.
/^ok / { if (tolower($0) ~ /# *skip/) skipped++; else passed++; points++ }
/^not ok/ { failed++; points++ }
/^1\.\.[0-9]+/ { plan = substr($1, 4) + 0; planned = 1; if (tolower($0) ~ /# *skip/) skipped++ }
END {
    if (!planned || plan != points || (rc != 0 && !failed)) failed++
    print passed + 0, failed + 0, skipped + 0
}
