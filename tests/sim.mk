# sim.mk - clusters of 1, 3, 5 and 7 members under a simulated network, crashes and disks
# (tests/sim/sim.h).
#   make sim SEED=1 RUNS=10000 [MEMBERS=3]   runs seeds; a failure prints its seed and how to run
#                                it again; without MEMBERS each seed decides
#   make check-sim               some hundred seeds, those that once failed, and equal traces
#   make sim-plants              plants known bugs and says after how many seeds each is found
SIM        := $(B)/tests/sim/sim
SIM_PLANTS := $(BUILD)/plants
SEED       ?= 1
RUNS       ?= 1000
MEMBERS    ?= 0

$(SIM): $(call obj,$(sort $(wildcard tests/sim/*.c))) $(TESTLIB_O) $(LIB_SERVER) $(LIB_COMMON)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_SERVER) $(LIB_COMMON) $(LIBS_etcd-server) $(LIBS_common)

.PHONY: sim check-sim sim-plants
sim: $(SIM)
	$(SIM) --seed=$(SEED) --runs=$(RUNS) --members=$(MEMBERS)
check-sim: $(SIM)
	timeout 300 $(SIM) --file=tests/sim/seeds.txt
	timeout 300 $(SIM) --seed=1 --runs=150 --members=1
	timeout 300 $(SIM) --seed=1 --runs=200 --members=3
	timeout 300 $(SIM) --seed=1 --runs=100 --members=5
	timeout 300 $(SIM) --seed=1 --runs=60 --members=7
	timeout 300 $(SIM) --seed=1 --runs=20 --twice

# A variant of the build, where the bugs of common/base/plants.h can be switched on.
sim-plants:
	$(MAKE) B=$(SIM_PLANTS) CFLAGS='-g -O2 -DSIM_PLANTS' $(SIM_PLANTS)/tests/sim/sim
	timeout 1200 $(SIM_PLANTS)/tests/sim/sim --plants --runs=10000
