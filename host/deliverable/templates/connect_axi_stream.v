  wire [3:0] m_axis_tkeep;
  <<top>> dut (
    .aclk(clk), .aresetn(!rst),
    .s_axis_tdata(request_data), .s_axis_tkeep(4'hf), .s_axis_tlast(request_last),
    .s_axis_tvalid(request_valid), .s_axis_tready(request_ready),
    .m_axis_tdata(answer_data), .m_axis_tkeep(m_axis_tkeep), .m_axis_tlast(answer_last),
    .m_axis_tvalid(answer_valid), .m_axis_tready(answer_ready)
  );
