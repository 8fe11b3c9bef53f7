#!/usr/bin/env bash
# A throw-away mail server for tests: Dovecot and Postfix, as Debian packages
# them, on free ports of 127.0.0.1 with all they write in one temporary folder.
# Several may run at once; the machine's own mail server is not touched.
#
# It runs in the foreground. When it serves it prints one line of JSON: folder,
# addresses, certificate. Then it takes commands from its input, one a line,
# and answers each with "ok" or "error: …":
#
#   stop                   both servers are gone, the mail stays; a mail that was
#                          on its way comes later, and may come twice
#   start                  they are back at the same addresses
#   renumber USER FOLDER   the folder gets a new UIDVALIDITY and new UIDs
#
# When its input ends (as it does when the caller dies, however) or a signal
# asks, it stops the servers and removes the folder. Exit status 3: it cannot
# run here, and standard error says why.
#
# Everybody at local.test (the company) and example.com (its customers) has a
# mailbox and the password "secret"; what stands behind a + is cut. Others:
#   gone@example.com     a report comes back, 5.1.1
#   full@example.com     a report comes back, 5.2.2
#   refused@example.com  refused while the mail is handed in, 5.7.1
#   any other domain     handed in at submission, a report comes back, 5.4.4
#
# Authentication-Results of mx.local.test are this server's alone: what comes in
# under its name is dropped. dmarc=pass gets a mail whose From is at example.com
# if a user of example.com logged in to hand it in; dmarc=fail a mail from
# outside whose From is at forged.example; no other mail gets any.
set -euo pipefail
shopt -s nullglob
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
umask 022
cd /

readonly prefix=tributary-mail-
readonly master=/usr/lib/postfix/sbin/master
readonly port_names=(imap imaps lmtp smtp submission submissions customers pass fail)
dir="" dovecot_pid="" postfix_pid=""
declare -A port

cannot() {
	echo "$1" >&2
	exit 3
}

requirements() {
	[ "$(id -u)" = 0 ] || cannot "the mail server has to be started by root"
	local program
	for program in dovecot doveadm flock openssl setpriv "$master"; do
		command -v "$program" >/dev/null || cannot "$program is not installed (packages dovecot-imapd dovecot-lmtpd postfix)"
	done
	[ -x /usr/lib/dovecot/lmtp ] || cannot "the package dovecot-lmtpd is not installed"
	# 2.4 has another language of settings.
	[[ $(dovecot --version) == 2.3.* ]] || cannot "Dovecot 2.3 is needed, $(dovecot --version) is installed"
}

# remove_left_behind removes the folders of those that were killed with -9:
# their servers died with them, but nobody was left to remove anything. Who
# lives holds a lock.
remove_left_behind() {
	local folder
	for folder in "${TMPDIR:-/tmp}/$prefix"*; do
		[ ! -s "$folder/lock" ] || flock -n "$folder/lock" rm -rf -- "$folder" || true
	done
}

new_folder() {
	dir=$(mktemp -d -t "${prefix}XXXXXXXX")
	exec 9>"$dir/lock"
	flock 9
	echo "locked" >&9
	# The servers run as users of their own and have to get in.
	chmod 755 "$dir"
	install -d "$dir/dovecot" "$dir/postfix" "$dir/queue" "$dir/queue/pid"
	install -d -o mail -g mail -m 700 "$dir/mail" "$dir/large"
	install -d -o postfix -m 700 "$dir/data" "$dir/queue/private"
	local queue
	for queue in active bounce corrupt defer deferred flush hold incoming saved trace; do
		install -d -o postfix -m 700 "$dir/queue/$queue"
	done
	install -d -o postfix -g postdrop -m 710 "$dir/queue/public"
	install -d -o postfix -g postdrop -m 730 "$dir/queue/maildrop"
}

certificate() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
		-subj /CN=localhost -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' \
		-keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
	cat "$dir/key.pem" "$dir/cert.pem" >"$dir/chain.pem"
	chmod 600 "$dir/key.pem" "$dir/chain.pem"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# choose_ports takes them below those that the system gives to outgoing
# connections: one of these could take ours while the servers are stopped.
choose_ports() {
	local name candidate taken=" "
	for name in "${port_names[@]}"; do
		while :; do
			candidate=$((20000 + RANDOM % 12000))
			[[ $taken == *" $candidate "* ]] || answers "$candidate" || break
		done
		port[$name]=$candidate
		taken+="$candidate "
	done
}

dovecot_settings() {
	cat >"$dir/dovecot.conf" <<-END
		base_dir = $dir/dovecot
		state_dir = $dir/dovecot
		log_path = $dir/dovecot.log
		listen = 127.0.0.1
		protocols = imap lmtp
		login_greeting = Ready ${dir##*/}
		ssl = yes
		ssl_cert = <$dir/cert.pem
		ssl_key = <$dir/key.pem
		disable_plaintext_auth = no
		auth_mechanisms = plain login
		# A test that logs in wrongly does not wait, and does not slow the others.
		auth_failure_delay = 0
		auth_cache_size = 0
		service anvil {
		  unix_listener anvil-auth-penalty {
		    mode = 0
		  }
		}
		first_valid_uid = 1
		mail_fsync = never
		mail_temp_dir = $dir/large
		default_vsz_limit = 1G
		mail_max_userip_connections = 1000
		mail_location = maildir:~/Maildir
		recipient_delimiter = +
		passdb {
		  driver = static
		  args = password=secret
		}
		userdb {
		  driver = static
		  args = uid=mail gid=mail home=$dir/mail/%u allow_all_users=yes
		}
		namespace inbox {
		  inbox = yes
		  mailbox Sent {
		    auto = subscribe
		    special_use = \Sent
		  }
		  mailbox Junk {
		    auto = subscribe
		    special_use = \Junk
		  }
		  mailbox Trash {
		    auto = subscribe
		    special_use = \Trash
		  }
		}
		protocol lmtp {
		  postmaster_address = postmaster@local.test
		}
		service imap-login {
		  service_count = 0
		  process_min_avail = 1
		  inet_listener imap {
		    port = ${port[imap]}
		  }
		  inet_listener imaps {
		    port = ${port[imaps]}
		    ssl = yes
		  }
		}
		service lmtp {
		  process_min_avail = 1
		  inet_listener lmtp {
		    port = ${port[lmtp]}
		  }
		}
		service auth {
		  unix_listener $dir/queue/private/auth {
		    mode = 0600
		    user = postfix
		  }
		}
	END
}

postfix_settings() {
	cat >"$dir/postfix/main.cf" <<-END
		compatibility_level = 3.6
		queue_directory = $dir/queue
		data_directory = $dir/data
		maillog_file = $dir/postfix.log
		maillog_file_prefixes = $dir
		inet_interfaces = 127.0.0.1
		inet_protocols = ipv4
		myhostname = mx.local.test
		myorigin = local.test
		mydestination =
		mynetworks =
		smtpd_banner = \$myhostname ESMTP ${dir##*/}
		# Nobody is asked for a name: no mail leaves this machine.
		disable_dns_lookups = yes
		smtp_host_lookup = native
		smtpd_peername_lookup = no
		alias_maps =
		alias_database =
		local_recipient_maps =

		virtual_mailbox_domains = local.test, example.com
		virtual_transport = lmtp:inet:127.0.0.1:${port[lmtp]}
		# One copy for each, so that each says to which address it came.
		lmtp_destination_recipient_limit = 1
		recipient_delimiter = +
		transport_maps = texthash:$dir/postfix/transport
		default_transport = error:5.4.4 no mail leaves this machine
		# Accepted first, reported later, as from a server that only relays.
		smtpd_reject_unlisted_recipient = no
		smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
		smtpd_recipient_restrictions = check_recipient_access texthash:$dir/postfix/refused, permit

		smtpd_tls_chain_files = $dir/chain.pem
		smtpd_tls_security_level = may
		smtpd_tls_auth_only = yes
		smtpd_sasl_type = dovecot
		smtpd_sasl_path = private/auth

		# Checks of the mail's own header alone, not of mails and parts inside.
		mime_header_checks =
		nested_header_checks =

		message_size_limit = 209715200
		mailbox_size_limit = 0
		virtual_mailbox_limit = 0

		# Tests wait for every second, and come in crowds.
		in_flow_delay = 0
		queue_run_delay = 1s
		minimal_backoff_time = 1s
		maximal_backoff_time = 2s
		smtpd_error_sleep_time = 0
		smtpd_soft_error_limit = 1000
		smtpd_hard_error_limit = 1000
		smtpd_client_connection_count_limit = 0
	END
}

postfix_services() {
	cat >"$dir/postfix/master.cf" <<-END
		127.0.0.1:${port[smtp]} inet n - n - - smtpd -o cleanup_service_name=from_outside
		127.0.0.1:${port[submission]} inet n - n - - smtpd
		  -o smtpd_sasl_auth_enable=yes -o smtpd_tls_security_level=encrypt
		  -o cleanup_service_name=handed_in -o smtpd_recipient_restrictions=\$submission
		127.0.0.1:${port[submissions]} inet n - n - - smtpd
		  -o smtpd_sasl_auth_enable=yes -o smtpd_tls_wrappermode=yes
		  -o cleanup_service_name=handed_in -o smtpd_recipient_restrictions=\$submission
		127.0.0.1:${port[customers]} inet n - n - - smtpd -o mynetworks=127.0.0.0/8 -o cleanup_service_name=by_customers
		127.0.0.1:${port[pass]} inet n - n - - smtpd -o mynetworks=127.0.0.0/8 -o smtpd_data_restrictions=\$pass
		127.0.0.1:${port[fail]} inet n - n - - smtpd -o mynetworks=127.0.0.0/8 -o smtpd_data_restrictions=\$fail
		from_outside unix n - n - 0 cleanup -o header_checks=regexp:$dir/postfix/from_outside
		handed_in unix n - n - 0 cleanup -o header_checks=regexp:$dir/postfix/handed_in
		by_customers unix n - n - 0 cleanup -o header_checks=regexp:$dir/postfix/by_customers
		cleanup unix n - n - 0 cleanup
		qmgr unix n - n 300 1 qmgr
		tlsmgr unix - - n 1000? 1 tlsmgr
		rewrite unix - - n - - trivial-rewrite
		bounce unix - - n - 0 bounce
		defer unix - - n - 0 bounce
		trace unix - - n - 0 bounce
		proxymap unix - - n - - proxymap
		smtp unix - - n - - smtp
		lmtp unix - - n - - lmtp
		error unix - - n - - error
		retry unix - - n - - error
		anvil unix - - n - 1 anvil
		scache unix - - n - 1 scache
		postlog unix-dgram n - n - 1 postlogd
	END
}

# postfix_rules: which mail is proved takes two facts, who logged in and what
# From says, and no single place of Postfix knows both. So a mail of a customer
# is handed on to a second door, which looks at its From and hands it on to the
# third, which writes the header on top.
postfix_rules() {
	local etc=$dir/postfix name='^Authentication-Results[[:space:]]*:'
	cat >>"$etc/main.cf" <<-END
		submission = check_recipient_access texthash:$etc/refused, check_sasl_access regexp:$etc/logins, permit_sasl_authenticated, reject
		pass = check_client_access regexp:$etc/pass
		fail = check_client_access regexp:$etc/fail
	END
	echo "/$name.*mx\.local\.test/ IGNORE" | tee "$etc/handed_in" >"$etc/from_outside"
	from_at "forged\.example" "FILTER smtp:[127.0.0.1]:${port[fail]}" >>"$etc/from_outside"
	from_at "example\.com" "FILTER smtp:[127.0.0.1]:${port[pass]}" >"$etc/by_customers"
	echo "/@example\.com\$/ FILTER smtp:[127.0.0.1]:${port[customers]}" >"$etc/logins"
	echo "/^/ PREPEND Authentication-Results: mx.local.test; dmarc=pass header.from=example.com" >"$etc/pass"
	echo "/^/ PREPEND Authentication-Results: mx.local.test; dmarc=fail header.from=forged.example" >"$etc/fail"
	echo "refused@example.com 550 5.7.1 this mailbox takes no mail" >"$etc/refused"
	cat >"$etc/transport" <<-END
		gone@example.com error:5.1.1 there is no such mailbox
		full@example.com error:5.2.2 the mailbox is full
	END
}

# from_at matches a From with one address, at this domain. Two addresses prove
# nothing, and neither does one in the name.
from_at() {
	echo '/^From[[:space:]]*:.*@[^@]*,.*@/ DUNNO'
	echo "/^From[[:space:]]*:(.*[<[:space:],])?[^<>[:space:]]+@$1>?[[:space:]]*\$/ $2"
}

# launch starts a program that ends with this one, even if that is killed -9: a
# keeper gets the signal of its parent's death. Postfix itself would lose it
# when it changes its user. The keeper holds the folder's lock, too, until the
# program is gone.
launch() {
	setpriv --pdeathsig TERM sh -c '"$@" 9>&- & trap "kill $!" TERM; wait; wait' keeper "$@" </dev/null >>"$dir/start.log" 2>&1 &
}

launch_both() {
	launch dovecot -F -c "$dir/dovecot.conf"
	dovecot_pid=$!
	launch "$master" -c "$dir/postfix"
	postfix_pid=$!
}

# greets tells if it is our server who speaks at a port, not another's.
greets() {
	local line=""
	{ exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
	read -r -t 5 line <&3 || true
	exec 3>&-
	[[ $line == *"${dir##*/}"* ]]
}

alive() { kill -0 "$dovecot_pid" 2>/dev/null && kill -0 "$postfix_pid" 2>/dev/null; }

start() {
	[ -z "$dovecot_pid" ] || return 0
	launch_both
	for _ in $(seq 300); do
		alive || break
		# All listen before the first greets.
		if greets "${port[smtp]}" && greets "${port[imap]}" && answers "${port[lmtp]}"; then
			return 0
		fi
		sleep 0.05
	done
	stop
	return 1
}

stop() {
	local pid name
	for pid in $postfix_pid $dovecot_pid; do
		kill "$pid" 2>/dev/null || true
	done
	for pid in $postfix_pid $dovecot_pid; do
		wait "$pid" 2>/dev/null || true
	done
	dovecot_pid="" postfix_pid=""
	# Their children may hold the ports a moment longer.
	for name in "${!port[@]}"; do
		for _ in $(seq 40); do
			answers "${port[$name]}" || break
			sleep 0.05
		done
	done
}

logs() { tail -n 20 "$dir"/*.log >&2 || true; }

first_start() {
	for _ in 1 2 3 4 5; do
		choose_ports
		dovecot_settings
		postfix_settings
		postfix_services
		postfix_rules
		# Postfix waits until its settings are two seconds old.
		touch -d '1 minute ago' "$dir"/postfix/*
		if start; then
			return 0
		fi
	done
	logs
	return 1
}

uid_validity() { doveadm -c "$dir/dovecot.conf" mailbox status -u "$1" uidvalidity "$2" 2>/dev/null; }

# renumber lets Dovecot forget its numbers, as when a server is restored from
# its files. A session that has the folder open would write them down again, so
# they are ended, and it is tried until it worked.
renumber() {
	local user=$1 folder=$2 before
	local box="$dir/mail/$user/Maildir"
	[ "$folder" = INBOX ] || box+="/.$folder"
	before=$(uid_validity "$user" "$folder")
	[ -n "$before" ] || return 1
	for _ in $(seq 50); do
		doveadm -c "$dir/dovecot.conf" kick "$user" >/dev/null 2>&1 || true
		rm -f "$box"/dovecot-uidlist "$box"/dovecot.index*
		[ "$(uid_validity "$user" "$folder")" = "$before" ] || return 0
	done
	return 1
}

obey() {
	local command user folder
	while read -r command user folder; do
		case $command in
		stop) stop ;;
		start) start ;;
		renumber) renumber "$user" "$folder" ;;
		*) false ;;
		esac && echo ok || echo "error: $command $user $folder"
	done
}

end() {
	local status=$?
	trap '' TERM INT HUP
	stop
	[ -z "$dir" ] || for _ in $(seq 50); do
		# A process that dies a little later may still write.
		rm -rf -- "$dir" 2>/dev/null && break
		sleep 0.1
	done
	exit $status
}

address() { printf '"%s":"127.0.0.1:%s"' "$1" "${port[$1]}"; }

requirements
trap end EXIT
trap 'exit 0' TERM INT HUP
remove_left_behind
new_folder
certificate
first_start
printf '{"dir":"%s","ca":"%s",%s,%s,%s,%s,%s,%s}\n' "$dir" "$dir/cert.pem" "$(address imap)" "$(address imaps)" \
	"$(address smtp)" "$(address submission)" "$(address submissions)" "$(address lmtp)"
obey
