# Reads the events of `go test -json`: prints what failed with its output, a
# line for each package, each skip with its reason, and the counts. A package
# that fails without a failed test (it does not build, it panics outside a
# test) counts as one failure. Subtests count as tests.
#
# With -v counts=FILE the numbers are appended there as "passed failed skipped".

# text reads a string field. Quotes inside a value are escaped, so the key with
# its quotes can only be the key.
function text(key,    start, i, c, out) {
	start = index($0, "\"" key "\":\"")
	if (!start) return ""
	out = ""
	for (i = start + length(key) + 4; i <= length($0); i++) {
		c = substr($0, i, 1)
		if (c == "\"") break
		if (c == "\\") { i++; c = substr($0, i, 1)
			if (c == "n") c = "\n"
			else if (c == "t") c = "\t"
			else if (c == "r") c = ""
			else if (c == "u") { c = code(substr($0, i + 1, 4)); i += 4 }
		}
		out = out c
	}
	return out
}

function code(hex) {
	if (hex == "003c") return "<"
	if (hex == "003e") return ">"
	if (hex == "0026") return "&"
	if (hex == "001b") return ""
	return "?"
}

{
	action = text("Action")
	if (action == "") { print; next }
	pkg = text("Package"); test = text("Test"); id = pkg " " test
}
action == "build-output" { printf "%s", text("Output"); next }
action == "output" { kept[id] = kept[id] text("Output"); next }
test != "" && action == "pass" { passed++; inPackage[pkg]++; delete kept[id]; next }
test != "" && action == "skip" {
	skipped++
	printf "SKIP %s\n%s", id, kept[id]
	delete kept[id]; next
}
test != "" && action == "fail" {
	failed++; failedIn[pkg]++; names[failed] = id
	printf "FAIL %s\n%s", id, kept[id]
	delete kept[id]; next
}
test == "" && action == "pass" {
	match($0, /"Elapsed":[0-9.]+/)
	printf "ok   %-45s %5d tests %8.2fs\n", pkg, inPackage[pkg], substr($0, RSTART + 10, RLENGTH - 10)
	delete kept[id]; next
}
test == "" && action == "fail" {
	if (!failedIn[pkg]) { failed++; names[failed] = pkg " (the package)" }
	# What belongs to a test that never ended says why.
	for (k in kept) if (index(k, pkg " ") == 1) { printf "%s", kept[k]; delete kept[k] }
	printf "FAIL %s\n", pkg; next
}

END {
	if (failed) { print "\nfailed:"; for (i = 1; i <= failed; i++) print "  " names[i] }
	if (skipped) printf "\n%d SKIPPED: what they prove has not been proved by this run.\n", skipped
	if (counts) printf "%d %d %d\n", passed, failed, skipped >> counts
	else printf "%d passed, %d failed\n", passed, failed
	exit failed || !passed
}
