#!/usr/bin/env bats
# The Makefile: settings, features and their stubs, install and uninstall.

load ../lib/moe

CONF=${BUILD:-release}

setup() {
	run_dir
	unset BUILD MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
}
teardown() { reap; }

# The value of a variable under the settings given.
value() { # NAME SETTING...
	local name=$1
	shift
	make -s --eval="value-of: ; @echo '\$($name)'" value-of "$@" 2>/dev/null | tail -n 1
}

@test "make help names every target and every setting" {
	local word
	make -s help >"$RUN/help"
	for word in check check-unit check-e2e check-gpu lint install uninstall \
	    features clean BUILD= CC= WITH_CUDA= WITH_NCCL= WITH_VERBS= WITH_ZSTD= WITH_TLS= WITH_ONEDNN= \
	    DESTDIR= PREFIX=; do
		grep -q -- "$word" "$RUN/help" || { echo "not in help: $word"; return 1; }
	done
}

@test "a folder of objects for every combination of settings" {
	[ "$(value config)" = release ]
	[ "$(value config BUILD=asan)" = asan ]
	[ "$(value config CC=clang)" = release-clang ]
	[ "$(value config WITH_CUDA=no WITH_ZSTD=no)" = release-CUDA.no-ZSTD.no ]
	rm -rf build/release-CUDA.no-ZSTD.no
	run make BUILD=fast help
	[ "$status" -ne 0 ]
	[[ "$output" = *"BUILD=fast is none of"* ]]
}

@test "features are told in sentences, and -V says the same" {
	make -s features BUILD=$CONF >"$RUN/features"
	[ "$(wc -l <"$RUN/features")" -eq 6 ]
	[ "$(grep -cE '^(CUDA|NCCL|VERBS|ZSTD|TLS|ONEDNN): .*\.$' "$RUN/features")" -eq 6 ]
	"$BIN/moe-expertd" -V >"$RUN/version"
	local f sign
	for f in CUDA NCCL VERBS ZSTD TLS ONEDNN; do
		sign=-
		! grep -q "^$f: found" "$RUN/features" || sign=+
		grep -q " $sign${f,,}" "$RUN/version"
	done
}

@test "WITH_X=yes where X is not: a sentence, and no build" {
	run make -s features WITH_CUDA=yes NVCC=/nonexistent/nvcc
	[ "$status" -ne 0 ]
	[[ "$output" = *"CUDA: WITH_CUDA=yes, but a test program does not build"* ]]
	[ ! -e build/release-CUDA.yes/features.mk ]
	rm -rf build/release-CUDA.yes
}

@test "WITH_X and BUILD: a word that is none of theirs is refused" {
	run make -s -n features WITH_ZSTD=ja
	[ "$status" -ne 0 ]
	[[ "$output" = *"WITH_ZSTD=ja is none of auto, yes, no"* ]]
	run make -s -n features BUILD=fast
	[ "$status" -ne 0 ]
	[[ "$output" = *"BUILD=fast is none of"* ]]
}

# What a source file defines for the others.
exports() { # SOURCE
	gcc -std=c11 -D_GNU_SOURCE -fPIC $(value inc) -c -o "$RUN/x.o" "$1" &&
		nm -g --defined-only "$RUN/x.o" | awk '{ print $3 }' | sort
}

@test "a stub has the symbols of what it stands for" {
	local pair n=0
	for pair in common/wire/zbuf_zstd.c:common/wire/zbuf_stub.c \
	    common/wire/mac_ssl.c:common/wire/mac_stub.c \
	    common/link/tls_ssl.c:common/link/tls_stub.c \
	    kernels/cuda/kern_cuda_host.c:kernels/cuda/kern_cuda_stub.c \
	    common/link/link_rdma.c:common/link/link_rdma_stub.c \
	    common/link/link_nccl.c:common/link/link_nccl_stub.c \
	    common/link/link_cuda.c:common/link/link_cuda_stub.c \
	    src/moe-bench/bench_kern_peer_dnnl.c:src/moe-bench/bench_kern_peer_stub.c; do
		[ -e "${pair%:*}" ] || continue
		exports "${pair%:*}" >"$RUN/real" || continue
		exports "${pair#*:}" >"$RUN/stub"
		[ -s "$RUN/stub" ]
		comm -23 "$RUN/stub" "$RUN/real" >"$RUN/only"
		[ ! -s "$RUN/only" ] || { echo "$pair"; cat "$RUN/only"; return 1; }
		n=$((n + 1))
	done
	[ $n -ge 1 ]
}

@test "without CUDA, NCCL, verbs, zstd and OpenSSL: the lower floors build, and say so" {
	local off="WITH_CUDA=no WITH_NCCL=no WITH_VERBS=no WITH_ZSTD=no WITH_TLS=no WITH_ONEDNN=no"
	local dir=build/release-CUDA.no-NCCL.no-VERBS.no-ZSTD.no-TLS.no-ONEDNN.no
	make -s -j2 $off features $dir/libbase.a $dir/libwire.a $dir/liblink.a \
	    $dir/kernels/cuda/kern_cuda_stub.o >"$RUN/log"
	[ "$(grep -c 'left out (WITH_.*=no)' "$RUN/log")" -ge 6 ]
	nm $dir/common/wire/zbuf_stub.o | grep -q ' T '
	[ ! -e $dir/common/wire/zbuf_zstd.o ]
	[ "$(nm -u $dir/libwire.a | grep -c ZSTD_)" -eq 0 ]
	[ "$(nm -u $dir/libwire.a $dir/liblink.a | grep -cE 'SSL_|HMAC|EVP_')" -eq 0 ]
	rm -rf $dir
}

@test "install puts programs, pages and the model there, uninstall takes all away" {
	local p
	make -s install BUILD=$CONF DESTDIR="$RUN/root" PREFIX=/usr >"$RUN/log"
	for p in moe-expertd moe-attnd moe-route moe-bench moe-failsim moe-up moe-down moe-ask; do
		"$RUN/root/usr/bin/$p" --help >"$RUN/out" </dev/null
		grep -q '^usage: ' "$RUN/out"
		[ -f "$RUN/root/usr/share/man/man1/$p.1" ]
	done
	for p in moe.7 moe-wire.7 moe-cluster.5 moe-stream.5; do
		[ -f "$RUN/root/usr/share/man/man${p##*.}/$p" ]
	done
	cmp models/tales/model.safetensors "$RUN/root/usr/share/moe/models/tales/model.safetensors"
	make -s uninstall BUILD=$CONF DESTDIR="$RUN/root" PREFIX=/usr >"$RUN/log"
	find "$RUN/root" ! -type d >"$RUN/left"
	[ ! -s "$RUN/left" ] || { cat "$RUN/left"; return 1; }
	[ ! -e "$RUN/root/usr/share/moe" ]
}
