// Package sip runs SIP peers that others wrote against the real program: sipp with scenarios of our own, and baresip as a
// phone. Each test has its own, on free ports of 127.0.0.1 with all they write in one temporary folder, and they die with
// the test however it ends. Where a program is not installed the test is skipped loudly, or fails where servers are
// required (TEST_REQUIRE_SERVERS=1).
package sip
