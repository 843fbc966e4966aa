  wire rx, tx;
  uart_host #(.CLOCK_HZ(<<clock_hz>>), .BAUD(<<baud>>)) uart (
    .clk(clk), .rst(rst), .tx(rx), .rx(tx),
    .i_data(to_device), .i_valid(to_device_valid), .i_ready(to_device_ready),
    .o_data(from_device), .o_valid(from_device_valid), .o_ready(from_device_ready)
  );
  <<top>> dut (.clk(clk), .rst(rst), .rx(rx), .tx(tx));
