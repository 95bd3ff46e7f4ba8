# The moe toolkit: one non-recursive Makefile.  `make help` tells the targets.
#
#   BUILD=release|debug|asan|tsan|fuzz   CC=gcc|clang
#   WITH_CUDA, WITH_NCCL, WITH_VERBS, WITH_ZSTD, WITH_TLS, WITH_ONEDNN = auto|yes|no
#
# Objects live in build/<config>/, one folder per combination of settings, so
# that switching never mixes objects.

VERSION := 0.1
BUILD ?= release
PREFIX ?= /usr/local
DESTDIR ?=
NVCC ?= nvcc
CUDA_ARCH ?= 80 90
WITH_CUDA ?= auto
WITH_NCCL ?= auto
WITH_VERBS ?= auto
WITH_ZSTD ?= auto
WITH_TLS ?= auto
WITH_ONEDNN ?= auto

# Terse by default; V=1 shows the commands.
Q := $(if $(V),,@)
say = @$(if $(V),:,printf '  %-5s %s\n' '$1' '$(patsubst build/%,%,$2)')

# ---- configuration name and flags -------------------------------------------
ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(BUILD)),clang,gcc)
endif
empty :=
config := $(subst $(empty) ,,$(BUILD)$(if $(filter-out gcc,$(notdir $(CC))),-$(notdir $(CC)))$(foreach f,CUDA NCCL VERBS ZSTD TLS ONEDNN,$(if $(filter-out auto,$(WITH_$f)),-$f.$(WITH_$f))))
B := build/$(config)

WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wpointer-arith -Wcast-qual -Werror
opt_release := -O2 -g
opt_debug := -O0 -g3
opt_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
opt_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
# For tests/fuzz/run: with the coverage that libFuzzer and AFL++ go by.
opt_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link -fsanitize=address,undefined -fno-sanitize-recover=undefined
ifeq ($(opt_$(BUILD)),)
$(error BUILD=$(BUILD) is none of release, debug, asan, tsan, fuzz)
endif

$(foreach f,CUDA NCCL VERBS ZSTD TLS ONEDNN,$(if $(filter-out auto yes no,$(WITH_$f)),$(error WITH_$f=$(WITH_$f) is none of auto, yes, no)))

-include $(B)/features.mk

floors := base wire loop link model cluster expert
inc := $(addprefix -Icommon/,$(floors)) -Ikernels
CFLAGS ?=
ALL_CFLAGS := -std=c11 -D_GNU_SOURCE -pthread -fPIC -ffp-contract=off $(opt_$(BUILD)) $(WARN) $(inc) $(FEATURE_CFLAGS) $(CFLAGS)
# --as-needed: a program carries only the libraries that it calls.
ALL_LDFLAGS := -pthread -Wl,--as-needed $(opt_$(BUILD)) $(LDFLAGS)
LIBS = -levent -levent_pthreads -ljansson -lpcre2-8 -lutf8proc -lcurl $(FEATURE_LIBS) -lm -ldl -lrt

programs := moe-expertd moe-attnd moe-route moe-bench moe-failsim
scripts := $(wildcard bin/moe-up bin/moe-down bin/moe-ask bin/moe-drill bin/moe-sweep)

# ---- sources -----------------------------------------------------------------
# A feature's absent half is a stub file with the same symbols: X_zstd.c or
# X_zstd_stub.c, never an #ifdef.
feature_files := common/wire/zbuf_zstd.c common/wire/mac_ssl.c common/link/tls_ssl.c common/link/link_rdma.c common/link/link_nccl.c common/link/link_cuda.c kernels/cuda/kern_cuda_host.c src/moe-bench/bench_kern_peer_dnnl.c
stub_files := $(wildcard common/*/*_stub.c kernels/*/*_stub.c src/*/*_stub.c)
# $(call pick,FEATURE,real,stub): whichever of the two this build links.
pick = $(if $(filter yes,$(HAVE_$1)),$(if $(wildcard $2),$2,$3),$3)
picked := $(call pick,ZSTD,common/wire/zbuf_zstd.c,common/wire/zbuf_stub.c) \
	$(call pick,TLS,common/wire/mac_ssl.c,common/wire/mac_stub.c) \
	$(call pick,TLS,common/link/tls_ssl.c,common/link/tls_stub.c) \
	$(call pick,VERBS,common/link/link_rdma.c,common/link/link_rdma_stub.c) \
	$(call pick,NCCL,common/link/link_nccl.c,common/link/link_nccl_stub.c) \
	$(call pick,CUDA,common/link/link_cuda.c,common/link/link_cuda_stub.c) \
	$(call pick,ONEDNN,src/moe-bench/bench_kern_peer_dnnl.c,src/moe-bench/bench_kern_peer_stub.c)
picked := $(wildcard $(picked))

kern_src := $(filter-out $(feature_files) $(stub_files),$(wildcard kernels/*.c kernels/cpu/*.c kernels/emu/*.c))
cuda_src := $(if $(filter yes,$(HAVE_CUDA)),$(wildcard kernels/cuda/*.cu))
kern_src += $(if $(filter yes,$(HAVE_CUDA)),$(filter kernels/cuda/kern_cuda_host.c,$(wildcard kernels/cuda/*.c)),$(wildcard kernels/cuda/*_stub.c))
floor_src = $(filter-out $(feature_files) $(stub_files),$(wildcard common/$1/*.c)) $(filter common/$1/%,$(picked))
program_src = $(filter-out $(feature_files) $(stub_files),$(wildcard src/$1/*.c)) $(filter src/$1/%,$(picked))

o = $(patsubst %.c,$(B)/%.o,$1)
libkern := $(B)/libkern.a
floor_libs := $(foreach f,$(floors),$(B)/lib$f.a)
# Upper floors first: a floor uses only what stands to its right.
link_order := $(B)/libexpert.a $(B)/libcluster.a $(B)/libmodel.a $(B)/liblink.a $(B)/libloop.a $(B)/libwire.a $(B)/libbase.a $(libkern)

unit_src := $(filter-out $(if $(filter asan tsan fuzz,$(BUILD)),%/test_step_alloc.c),$(wildcard tests/unit/*.c))
kern_test_src := $(wildcard tests/kern/*.c)
fuzz_src := $(wildcard tests/fuzz/fuzz_*.c)
unit_bin := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(unit_src))
kern_bin := $(patsubst tests/kern/%.c,$(B)/tests/kern/%,$(kern_test_src))
fuzz_bin := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(fuzz_src))
tool_bin := $(patsubst tests/tool/%.c,$(B)/tests/tool/%,$(wildcard tests/tool/*.c))
prog_bin := $(addprefix $(B)/bin/,$(programs))

.PHONY: all help check check-unit check-e2e check-gpu lint install uninstall clean tests features
.DEFAULT_GOAL := all
.SECONDARY:
.DELETE_ON_ERROR:

# The release build is what stands in bin/.
all: $(B)/features.mk $(prog_bin) $(if $(filter release,$(config)),$(addprefix bin/,$(programs)))
tests: $(unit_bin) $(kern_bin) $(fuzz_bin) $(tool_bin)

help:
	@echo 'make                 build the programs into $(B)/bin (and bin/)'
	@echo 'make check           build and run every test this machine can run'
	@echo 'make check-unit      unit and kernel tests only'
	@echo 'make check-e2e       end-to-end tests (bats) only'
	@echo 'make check-gpu       the CUDA kernels against the reference, on a GPU'
	@echo 'make lint            manuals, names, sizes, floors, headers'
	@echo 'make install         DESTDIR=$(DESTDIR) PREFIX=$(PREFIX)'
	@echo 'make uninstall       remove what install put there'
	@echo 'make features        say which optional parts this build has'
	@echo 'make clean           remove build/'
	@echo
	@echo 'BUILD=release|debug|asan|tsan|fuzz  CC=gcc|clang'
	@echo 'WITH_CUDA= WITH_NCCL= WITH_VERBS= WITH_ZSTD= WITH_TLS= WITH_ONEDNN= auto|yes|no'

# ---- features: probed by compile and link -------------------------------------
# $(call probe,NAME,code,compile command prefix,libs): yes or no on stdout
define probe_sh
probe() { \
	want=$$1; name=$$2; hint=$$3; shift 3; \
	if [ "$$want" = no ]; then echo "HAVE_$$name := no"; echo "$$name: left out (WITH_$$name=no)." >&3; return; fi; \
	if "$$@" >$(B)/probe.log 2>&1; then echo "HAVE_$$name := yes"; echo "$$name: found, built in." >&3; \
	elif [ "$$want" = yes ]; then echo "$$name: WITH_$$name=yes, but a test program does not build:" >&2; cat $(B)/probe.log >&2; exit 1; \
	else echo "HAVE_$$name := no"; echo "$$name: not found ($$hint); a stub takes its place." >&3; fi; }
endef

$(B)/features.mk: Makefile
	@mkdir -p $(B)
	@$(probe_sh); exec 3>$(B)/features.txt; set -e; { \
	printf '#include <cuda_runtime.h>\n__global__ void k(int*p){*p=1;}\nint main(void){int n;return cudaGetDeviceCount(&n)==cudaErrorInvalidValue;}\n' >$(B)/p_cuda.cu; \
	probe $(WITH_CUDA) CUDA 'the CUDA Toolkit brings nvcc' $(NVCC) -o $(B)/p_cuda $(B)/p_cuda.cu; \
	printf '#include <nccl.h>\nint main(void){int v;return ncclGetVersion(&v)!=0&&v==0;}\n' >$(B)/p_nccl.cu; \
	probe $(WITH_NCCL) NCCL 'package libnccl-dev' $(NVCC) -o $(B)/p_nccl $(B)/p_nccl.cu -lnccl; \
	printf '#include <infiniband/verbs.h>\n#include <rdma/rdma_cma.h>\nint main(void){return ibv_fork_init()==-1&&rdma_create_event_channel()==0;}\n' >$(B)/p_verbs.c; \
	probe $(WITH_VERBS) VERBS 'packages libibverbs-dev and librdmacm-dev' $(CC) -o $(B)/p_verbs $(B)/p_verbs.c -libverbs -lrdmacm; \
	printf '#include <zstd.h>\nint main(void){return ZSTD_versionNumber()==0;}\n' >$(B)/p_zstd.c; \
	probe $(WITH_ZSTD) ZSTD 'package libzstd-dev' $(CC) -o $(B)/p_zstd $(B)/p_zstd.c -lzstd; \
	printf '#include <openssl/ssl.h>\nint main(void){SSL_CTX*c=SSL_CTX_new(TLS_method());SSL_CTX_set_psk_find_session_callback(c,NULL);return EVP_sha256()==NULL;}\n' >$(B)/p_tls.c; \
	probe $(WITH_TLS) TLS 'package libssl-dev, OpenSSL 1.1.1 or later' $(CC) -o $(B)/p_tls $(B)/p_tls.c -lssl -lcrypto; \
	printf '#include <oneapi/dnnl/dnnl.h>\nint omp_pause_resource_all(int);\nint main(void){return dnnl_version()->major!=2||omp_pause_resource_all(2);}\n' >$(B)/p_onednn.c; \
	probe $(WITH_ONEDNN) ONEDNN 'package libdnnl-dev; only moe-bench kern --peer uses it' $(CC) -o $(B)/p_onednn $(B)/p_onednn.c -ldnnl -lgomp; \
	} >$@.tmp
	@cat $(B)/features.txt; mv $@.tmp $@

lower = $(subst A,a,$(subst B,b,$(subst C,c,$(subst D,d,$(subst E,e,$(subst L,l,$(subst N,n,$(subst O,o,$(subst R,r,$(subst S,s,$(subst T,t,$(subst U,u,$(subst V,v,$(subst Z,z,$1))))))))))))))
feature_words := $(foreach f,CUDA NCCL VERBS ZSTD TLS ONEDNN,$(if $(filter yes,$(HAVE_$f)),+,-)$(call lower,$f))
FEATURE_LIBS := $(if $(filter yes,$(HAVE_ZSTD)),-lzstd) $(if $(filter yes,$(HAVE_TLS)),-lssl -lcrypto) $(if $(filter yes,$(HAVE_ONEDNN)),-ldnnl -lgomp) $(if $(filter yes,$(HAVE_CUDA)),-L$(dir $(shell command -v $(NVCC)))../lib64 -lcudart_static -lstdc++)
FEATURE_CFLAGS :=

features: $(B)/features.mk
	@cat $(B)/features.txt

# ---- compile ------------------------------------------------------------------
$(B)/%.o: %.c $(B)/features.mk
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$Q$(CC) $(ALL_CFLAGS) $(CFLAGS_$(notdir $*)) -MMD -MP -c -o $@ $<

# Instruction-set variants: one file each, the flags by its name.  They are
# straight arithmetic on memory that others hand them, and under the thread
# sanitizer they would be most of the time: there kern_ref and the pool, which
# do the same accesses, are watched instead.
kern_opt := -O3 $(if $(filter tsan,$(BUILD)),-fno-sanitize=thread)
CFLAGS_kern_sum := $(kern_opt)
CFLAGS_kern_avx2 := -mavx2 -mfma -mf16c $(kern_opt)
CFLAGS_kern_avx2_rows := $(CFLAGS_kern_avx2)
CFLAGS_kern_avx2_attn := $(CFLAGS_kern_avx2)
CFLAGS_kern_avx2_q8 := $(CFLAGS_kern_avx2)
CFLAGS_kern_avx512vnni := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c $(kern_opt)
CFLAGS_cpu_q8 := $(kern_opt)
CFLAGS_kern_avx512bf16 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512bf16 -mfma -mf16c $(kern_opt)
CFLAGS_cli = -DMOE_VERSION='"$(VERSION)"' -DMOE_FEATURES='" wire/1 $(strip $(feature_words))"'

nvcc_arch := $(foreach a,$(CUDA_ARCH),-gencode arch=compute_$a,code=sm_$a)
$(B)/%.cu.o: %.cu $(B)/features.mk
	@mkdir -p $(@D)
	$(call say,NVCC,$@)
	$Q$(NVCC) -O3 -lineinfo -std=c++17 -Xcompiler -fPIC,-Wall -Ikernels -Ikernels/cuda $(nvcc_arch) -MMD -MF $(@:.o=.d) -c -o $@ $<

define floor_rule
$(B)/lib$1.a: $(call o,$(call floor_src,$1))
	$$Qrm -f $$@; ar rcs $$@ $$(filter %.o,$$^)
endef
$(foreach f,$(floors),$(eval $(call floor_rule,$f)))
$(libkern): $(call o,$(kern_src)) $(patsubst %,$(B)/%.o,$(cuda_src))
	$Qrm -f $@; ar rcs $@ $(filter %.o,$^)

define program_rule
$(B)/bin/$1: $(call o,$(call program_src,$1)) $(link_order)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$Q$$(CC) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(LIBS)
endef
$(foreach p,$(programs),$(eval $(call program_rule,$p)))

$(B)/tests/%: $(B)/tests/%.o $(link_order)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$Q$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LIBS)
$(B)/tests/%.o: ALL_CFLAGS += -Itests/lib
ifeq ($(BUILD),fuzz)
$(B)/tests/fuzz/%.o: ALL_CFLAGS += -DMOE_LIBFUZZER
$(B)/tests/fuzz/%: ALL_LDFLAGS += -fsanitize=fuzzer
endif
# It times the front end's sampler.
$(B)/bin/moe-bench: $(B)/src/moe-attnd/at_sample.o
# The front end without its main(), and with malloc functions of its own, which
# sanitizers do not like.
$(B)/tests/unit/test_step_alloc: $(call o,$(filter-out %/main.c,$(call program_src,moe-attnd)))
# The engine without its dispatch, which is the test's own.
$(B)/tests/unit/test_engine: $(call o,$(addprefix src/moe-attnd/,at_engine.c at_free.c at_group.c at_load.c at_model.c at_pool.c at_prof.c at_queue.c at_run.c at_sample.c at_sched.c) $(wildcard src/moe-attnd/at_kv*.c))

bin/moe-%: build/release/bin/moe-%
	@cp $< bin/.moe-$*.new && mv bin/.moe-$*.new $@

# ---- tests --------------------------------------------------------------------
check: all tests
	@BUILD=$(BUILD) MOE_BUILD=$(B) tests/run --built
check-unit: tests
	@MOE_BUILD=$(B) tests/run --built unit
check-e2e: all tests
	@MOE_BUILD=$(B) tests/run --built e2e
check-gpu: all tests
	@MOE_BUILD=$(B) MOE_REQUIRE=cuda tests/run --built gpu
lint: all
	@MOE_BUILD=$(B) tests/run --built lint

# ---- install ------------------------------------------------------------------
man1 := $(wildcard man/*.1)
man5 := $(wildcard man/*.5)
man7 := $(wildcard man/*.7)
man8 := $(wildcard man/*.8)
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/moe/models $(DESTDIR)$(PREFIX)/share/moe/devices
	install -m 644 kernels/emu/devices/*.tsv $(DESTDIR)$(PREFIX)/share/moe/devices
	install -m 755 $(prog_bin) $(scripts) $(DESTDIR)$(PREFIX)/bin
	cp -r models/tales $(DESTDIR)$(PREFIX)/share/moe/models/
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/moe/drills contrib/drills/*.drill
	rm -f $(DESTDIR)$(PREFIX)/share/moe/models/tales/golden.json
	for s in 1 5 7 8; do for m in man/*.$$s; do [ -e "$$m" ] || continue; \
		install -D -m 644 "$$m" $(DESTDIR)$(PREFIX)/share/man/man$$s/$$(basename "$$m"); done; done
uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(programs) $(notdir $(scripts)))
	rm -rf $(DESTDIR)$(PREFIX)/share/moe
	for s in 1 5 7 8; do for m in man/*.$$s; do rm -f $(DESTDIR)$(PREFIX)/share/man/man$$s/$$(basename "$$m"); done; done
	@# The folders, too, unless somebody else has something in them.
	for d in bin $(addprefix share/man/man,1 5 7 8) share/man share; do rmdir "$(DESTDIR)$(PREFIX)/$$d" 2>/dev/null || :; done
clean:
	rm -rf build $(addprefix bin/,$(programs))

-include $(shell find $(B) -name '*.d' 2>/dev/null)
