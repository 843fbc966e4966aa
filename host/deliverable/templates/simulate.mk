icarus: $(BUILD)/$(TOP)_tb.vvp $(VECTORS)
	$(VVP) -n $< > $(BUILD)/icarus.log; cat $(BUILD)/icarus.log
	@grep -q '^PASS' $(BUILD)/icarus.log

verilator: $(BUILD)/verilator/$(TOP)_tb $(VECTORS)
	$< > $(BUILD)/verilator.log 2>&1; cat $(BUILD)/verilator.log
	@grep -q '^PASS' $(BUILD)/verilator.log

$(BUILD)/$(TOP)_tb.vvp: $(SOURCES)
	mkdir -p $(BUILD)
	$(IVERILOG) -g2005 -s $(TOP)_tb -o $@ $(SOURCES)

$(BUILD)/verilator/$(TOP)_tb: $(SOURCES) lint.vlt
	mkdir -p $(BUILD)
	$(VERILATOR) --binary --timing -Wno-fatal -O3 --top-module $(TOP)_tb --Mdir $(BUILD)/verilator -o $(TOP)_tb \
	  $(VERILATOR_FLAGS) lint.vlt $(SOURCES)

