"""The relativistic electron (conventions, row 13)."""

import numpy as np
import pytest
from scipy.constants import c, h, m_e

from physics.electron import relativistic_factor, wavelength_nm


def test_wavelength_and_factor_at_200_kV():
    assert wavelength_nm(200) * 1e3 == pytest.approx(2.50793, abs=5e-6)  # conventions, row 13
    assert relativistic_factor(200) == pytest.approx(1.39139, abs=5e-6)  # conventions, row 13


@pytest.mark.parametrize("voltage_kV, wavelength_pm", [(100, 3.70144), (300, 1.96875)])  # Hirsch et al. (1977)
def test_wavelength_at_other_voltages(voltage_kV, wavelength_pm):
    assert wavelength_nm(voltage_kV) * 1e3 == pytest.approx(wavelength_pm, rel=1e-5)


@pytest.mark.parametrize("voltage_kV", [10, 80, 200, 1000, 3000])
def test_energy_and_momentum_are_one_four_vector(voltage_kV):
    gamma = relativistic_factor(voltage_kV)
    momentum = h / (wavelength_nm(voltage_kV) * 1e-9) / (m_e * c)
    assert gamma**2 - momentum**2 == pytest.approx(1, rel=1e-9)


def test_slow_electrons_obey_de_broglie():
    assert wavelength_nm(1e-3) == pytest.approx(1.22643, rel=1e-5)  # h / sqrt(2 m e V) at 1 V
    assert np.all(np.diff([wavelength_nm(v) for v in (80, 100, 200, 300)]) < 0)
