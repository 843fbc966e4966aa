  wire wb_ack, wb_err;
  assign done = wb_ack || wb_err;
  assign error = wb_err;
  <<top>> dut (
    .clk(clk), .rst(rst),
    .wb_cyc(start), .wb_stb(start), .wb_we(write), .wb_adr(address), .wb_sel(4'hf), .wb_dat_w(write_data),
    .wb_dat_r(read_data), .wb_ack(wb_ack), .wb_err(wb_err)
  );
