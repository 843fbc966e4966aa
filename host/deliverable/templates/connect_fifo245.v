  // The bridge: rxf_n says that there is a byte to read, txe_n that there is room to write one.
  wire data_oe, rd_n, wr_n, oe_n, siwu_n;
  wire rxf_n = !to_device_valid;
  wire txe_n = !from_device_ready;
  assign to_device_ready = !rd_n;
  assign from_device_valid = !wr_n && !txe_n;
  <<top>> dut (
    .clk(clk), .rst(rst),
    .data_i(oe_n ? 8'hxx : to_device), .data_o(from_device), .data_oe(data_oe),
    .rxf_n(rxf_n), .txe_n(txe_n), .rd_n(rd_n), .wr_n(wr_n), .oe_n(oe_n), .siwu_n(siwu_n)
  );
  always @(posedge clk) if (!rst && data_oe && !oe_n) begin
    $display("both the device and the bridge drive the bus");
    conclude(1'b0);
  end
