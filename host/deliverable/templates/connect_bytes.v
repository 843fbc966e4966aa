  <<top>> dut (
    .clk(clk), .rst(rst),
    .i__payload(to_device), .i__valid(to_device_valid), .i__ready(to_device_ready),
    .o__payload(from_device), .o__valid(from_device_valid), .o__ready(from_device_ready)
  );
